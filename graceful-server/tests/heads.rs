//! HTTP/1 heads and answers cut anywhere by a stop: what had begun may finish, what never does holds nobody (law 6).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test did not get is its failure"
)]

mod support;

use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use graceful_server::{ConnState, Phase};
use support::{Server, app, quick, read_all, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

/// Heads in two parts. The first byte of POST is also the first one of HTTP/2's preface.
const HEADS: [(&str, &str); 6] = [
    (
        "P",
        "OST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello",
    ),
    ("PR", "OPFIND / HTTP/1.1\r\nhost: test\r\n\r\n"),
    ("GET / HT", "TP/1.1\r\nhost: test\r\n\r\n"),
    ("GET / HTTP/1.1\r\nho", "st: test\r\n\r\n"),
    ("GET / HTTP/1.1\r\nhost: test\r\n\r", "\n"),
    ("GET / HTTP/1.0\r\nconnection: keep-a", "live\r\n\r\n"),
];

/// One connection for each head, first on it or after another request, with its first part sent.
async fn begun(server: &Server) -> Vec<(TcpStream, String, &'static str)> {
    let mut begun = Vec::new();
    for (first, rest) in HEADS {
        for later in [false, true] {
            let mut client = TcpStream::connect(server.addr).await.unwrap();
            if later {
                client
                    .write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
                    .await
                    .unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"hello") {
                    assert!(client.read_buf(&mut answer).await.unwrap() > 0);
                }
            }
            client.write_all(first.as_bytes()).await.unwrap();
            begun.push((client, format!("{first:?}, later: {later}"), rest));
        }
    }
    until("all of them begun", || {
        server.tracker.counts().of(ConnState::Active) == begun.len()
    })
    .await;
    begun
}

#[tokio::test]
async fn a_head_that_had_begun_may_finish_and_is_answered_with_close() {
    // Whoever were taken for idle would be closed at once.
    let grace = quick()
        .with_idle_grace(Duration::ZERO)
        .with_first_request_grace(Duration::from_secs(20));
    let server = Server::start(app(), |serve| serve.grace(grace));
    let clients = begun(&server).await;
    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;
    sleep(Duration::from_millis(200)).await;
    for (mut client, what, rest) in clients {
        client.write_all(rest.as_bytes()).await.unwrap();
        let answer = read_all(&mut client)
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let status = if rest.starts_with("OPFIND") {
            " 405 "
        } else {
            " 200 "
        };
        assert!(
            answer.starts_with("HTTP/1.") && answer[8..].starts_with(status),
            "{what}: {answer}"
        );
        // The first answer, before the stop, is not among what is read here.
        assert_eq!(
            answer.matches("connection: close").count(),
            1,
            "{what}: {answer}"
        );
        assert!(!answer.contains("keep-alive"), "{what}: {answer}");
    }
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.requests, HEADS.len() as u64 * 3);
}

#[tokio::test]
async fn a_head_that_never_finishes_is_dropped_after_its_grace_and_long_before_the_deadline() {
    let grace = quick()
        .with_first_request_grace(Duration::from_millis(300))
        .with_drain(Duration::from_secs(300));
    let server = Server::start(app(), |serve| serve.grace(grace));
    let clients = begun(&server).await;
    server.stop.fire();
    let report = server.stopped().await;
    assert_eq!(
        (report.cutoff, report.left),
        (Duration::ZERO, 0),
        "{report}"
    );
    assert_eq!(
        report.requests,
        HEADS.len() as u64,
        "no half of a head is a request"
    );
    drop(clients);
}

/// No header can be put where the head has gone out already; the end of the connection says it.
#[tokio::test]
async fn an_answer_whose_head_is_sent_streams_on_to_its_clean_end() {
    let (chunks, rest) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let rest = std::sync::Arc::new(std::sync::Mutex::new(Some(rest)));
    let stream = get(move || {
        let mut rest = rest.lock().unwrap().take().unwrap();
        async move { Body::from_stream(futures_util::stream::poll_fn(move |cx| rest.poll_recv(cx))) }
    });
    let server = Server::start(Router::new().route("/", stream), |serve| serve);
    let mut client = server.connect("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    chunks.send(Ok("first".into())).await.unwrap();
    let mut begin = Vec::new();
    while !begin.ends_with(b"first\r\n") {
        assert!(client.read_buf(&mut begin).await.unwrap() > 0);
    }
    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;
    sleep(Duration::from_millis(200)).await;
    chunks.send(Ok("last".into())).await.unwrap();
    drop(chunks);
    assert_eq!(
        read_all(&mut client).await.unwrap(),
        "4\r\nlast\r\n0\r\n\r\n"
    );
    assert!(server.stopped().await.is_clean());
}

/// Two requests in one segment while draining: one answer, which says that it is the last, and no reset over the other.
#[tokio::test]
async fn of_two_requests_that_come_together_while_draining_one_is_answered_and_one_never_runs() {
    let server = Server::start(app(), |serve| serve);
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    until("accepted", || server.tracker.counts().total() == 1).await;
    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;
    let post = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello";
    client.write_all(post.repeat(2).as_bytes()).await.unwrap();
    let answer = read_all(&mut client).await.expect("FIN, not RST");
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert_eq!(answer.matches("connection: close").count(), 1, "{answer}");
    let report = server.stopped().await;
    assert_eq!(report.requests, 1, "{report}");
}
