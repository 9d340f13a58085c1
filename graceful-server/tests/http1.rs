//! HTTP/1 clients in every state a stop can find them in (law 6).

mod support;

use std::{
    io::{Read, Write},
    time::Duration,
};

use axum::{Router, body::Body, routing::post};
use support::{BOUND, Server, app, exchange, quick, read_all, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

fn uploads() -> Router {
    app()
        .route("/early", post(|_: Body| async { "early" }))
        .route("/megabytes", post(|| async { vec![b'x'; 8 << 20] }))
}

#[tokio::test]
async fn a_request_that_waits_in_the_kernel_of_an_idle_connection_is_served() {
    // No idle grace: the connection is closed as soon as it is looked at.
    let grace = quick()
        .with_idle_grace(Duration::ZERO)
        .with_idle_spread(Duration::ZERO);
    for _ in 0..5 {
        let server = Server::start(app(), |serve| serve.grace(grace));
        let mut client = server.connect("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        let mut answer = [0; 1024];
        assert!(client.read(&mut answer).await.unwrap() > 0);
        until("idle", || {
            server.tracker.counts().of(graceful_server::ConnState::Idle) == 1
        })
        .await;
        // One thread, and nothing yields from here to the stop: the runtime cannot have seen these bytes.
        let mut client = client.into_std().unwrap();
        client.set_nonblocking(false).unwrap();
        client
            .write_all(b"GET /slow/1 HTTP/1.1\r\nhost: test\r\n\r\n")
            .unwrap();
        let report = server.stopped().await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(
            answer.contains("connection: close") && answer.ends_with("slow"),
            "{answer:?}"
        );
        assert_eq!(report.requests, 2);
    }
}

#[tokio::test]
async fn expect_continue_is_answered_both_ways_while_draining() {
    let head =
        "POST {} HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
    let server = Server::start(uploads(), |serve| serve);
    let mut reads = TcpStream::connect(server.addr).await.unwrap();
    let mut refuses = TcpStream::connect(server.addr).await.unwrap();
    until("two", || server.tracker.counts().total() == 2).await;
    server.stop.fire();
    server
        .tracker
        .reached(graceful_server::Phase::Draining)
        .await;

    reads
        .write_all(head.replace("{}", "/").as_bytes())
        .await
        .unwrap();
    let mut interim = [0; 25];
    reads.read_exact(&mut interim).await.unwrap();
    assert_eq!(interim, *b"HTTP/1.1 100 Continue\r\n\r\n");
    reads.write_all(b"hello").await.unwrap();
    let answer = read_all(&mut reads).await.unwrap();
    assert!(
        answer.contains("connection: close") && answer.ends_with("hello"),
        "{answer}"
    );

    refuses
        .write_all(head.replace("{}", "/early").as_bytes())
        .await
        .unwrap();
    let answer = read_all(&mut refuses).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("early"),
        "{answer}"
    );
    assert!(
        !answer.contains("100 Continue") && answer.contains("connection: close"),
        "{answer}"
    );
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn a_slow_reader_gets_all_of_its_megabytes() {
    let server = Server::start(uploads(), |serve| serve);
    let mut client = server
        .connect("POST /megabytes HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n")
        .await;
    until("in flight", || server.tracker.totals().1 == 1).await;
    server.stop.fire();
    server
        .tracker
        .reached(graceful_server::Phase::Draining)
        .await;
    let mut received = 0;
    let mut part = vec![0; 256 << 10];
    loop {
        sleep(Duration::from_millis(20)).await;
        match timeout(BOUND, client.read(&mut part))
            .await
            .unwrap()
            .unwrap()
        {
            0 => break,
            n => received += n,
        }
    }
    assert!(received > 8 << 20, "{received} bytes with the head");
    assert!(server.stopped().await.is_clean());
}

/// The client sends on and on, and reads only then.
#[tokio::test]
async fn an_early_answer_to_a_large_upload_is_read_and_not_reset() {
    for draining in [false, true] {
        let server = Server::start(uploads(), |serve| serve);
        let length = 512 << 10;
        let head =
            format!("POST /early HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n");
        let mut client = TcpStream::connect(server.addr).await.unwrap();
        until("accepted", || server.tracker.counts().total() == 1).await;
        if draining {
            server.stop.fire();
            server
                .tracker
                .reached(graceful_server::Phase::Draining)
                .await;
        }
        client.write_all(head.as_bytes()).await.unwrap();
        let mut sent = 0;
        while sent < length {
            sent += client
                .write(&vec![b'x'; 16 << 10])
                .await
                .expect("no reset while sending");
            sleep(Duration::from_millis(1)).await;
        }
        let answer = read_all(&mut client)
            .await
            .expect("no reset before the answer was read");
        assert!(answer.ends_with("early"), "draining {draining}: {answer}");
        let report = server.stopped().await;
        assert!(report.is_clean(), "draining {draining}: {report:?}");
    }
}

#[tokio::test]
async fn of_pipelined_requests_the_first_is_answered_with_close_and_the_rest_never_run() {
    let server = Server::start(app(), |serve| serve);
    let requests = "GET /slow/300 HTTP/1.1\r\nhost: test\r\n\r\n".repeat(3);
    let mut client = server.connect(&requests).await;
    until("in flight", || server.tracker.in_flight() == 1).await;
    server.stop.fire();
    let answer = read_all(&mut client).await.expect("FIN, not RST");
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert_eq!(answer.matches("connection: close").count(), 1, "{answer}");
    assert_eq!(server.stopped().await.requests, 1);
}

#[tokio::test]
async fn keep_alive_of_http_1_0_and_a_client_s_own_close_are_kept() {
    let server = Server::start(app(), |serve| serve);
    let old = "GET /slow/1000 HTTP/1.0\r\nhost: test\r\nconnection: keep-alive\r\n\r\n";
    let closing = "GET /slow/1000 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    let (old, closing) = (
        tokio::spawn(exchange(server.addr, old)),
        tokio::spawn(exchange(server.addr, closing)),
    );
    until("two in flight", || server.tracker.in_flight() == 2).await;
    server.stop.fire();
    let old = old.await.unwrap().unwrap();
    assert!(
        old.ends_with("slow") && !old.contains("keep-alive"),
        "{old}"
    );
    let closing = closing.await.unwrap().unwrap();
    assert!(closing.ends_with("slow"), "{closing}");
    assert_eq!(closing.matches("connection: close").count(), 1, "{closing}");
    assert!(server.stopped().await.is_clean());
}
