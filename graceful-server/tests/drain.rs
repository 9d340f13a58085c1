//! Stops under load: whoever was accepted gets an answer (laws 2 and 6).

mod support;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::routing::get;
use graceful_server::ConnState;
use support::{Server, app, quick, read_all, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::sleep,
};

const POST: &str = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello";

/// POSTs on one connection as fast as answers come, until one says close. Returns how many were answered.
async fn post_loop(mut stream: TcpStream) -> io::Result<usize> {
    let mut answered = 0;
    loop {
        stream.write_all(POST.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nhello") {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        answered += 1;
        if String::from_utf8_lossy(&answer)
            .to_lowercase()
            .contains("connection: close")
        {
            return match read_all(&mut stream).await?.as_str() {
                "" => Ok(answered),
                more => panic!("after the last answer: {more:?}"),
            };
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_keep_alive_posts_are_all_answered() {
    for round in 0..10 {
        let server = Server::start(app(), |serve| serve);
        let mut clients = JoinSet::new();
        for _ in 0..24 {
            clients.spawn(post_loop(TcpStream::connect(server.addr).await.unwrap()));
        }
        until("load", || server.tracker.totals().1 > 500).await;
        let report = server.stopped().await;
        assert!(report.is_clean(), "{report}");
        let mut answered = 0;
        while let Some(client) = clients.join_next().await {
            answered += client
                .unwrap()
                .unwrap_or_else(|lost| panic!("round {round}: {lost}"));
        }
        assert_eq!(
            answered as u64, report.requests,
            "every request seen was answered"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fresh_connections_are_answered_or_refused() {
    for round in 0..10 {
        let server = Server::start(app(), |serve| serve);
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        let answered = Arc::new(AtomicUsize::new(0));
        for _ in 0..24 {
            let (addr, stop, answered) = (server.addr, stop.clone(), answered.clone());
            clients.spawn(async move {
                while !stop.load(SeqCst) {
                    // Refused, or reset before it was established: nothing was sent, nothing is lost.
                    let Ok(mut stream) = TcpStream::connect(addr).await else {
                        return Ok(());
                    };
                    stream.write_all(POST.as_bytes()).await?;
                    let mut answer = Vec::new();
                    while !answer.ends_with(b"\r\n\r\nhello") {
                        if stream.read_buf(&mut answer).await? == 0 {
                            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                        }
                    }
                    answered.fetch_add(1, SeqCst);
                }
                Ok(())
            });
        }
        until("load", || answered.load(SeqCst) > 200).await;
        let report = server.stopped().await;
        stop.store(true, SeqCst);
        assert!(report.is_clean(), "{report}");
        while let Some(client) = clients.join_next().await {
            client
                .unwrap()
                .unwrap_or_else(|lost| panic!("round {round}: lost by {lost}"));
        }
    }
}

#[tokio::test]
async fn what_waits_in_the_accept_queue_is_served() {
    let server = Server::start(app(), |serve| serve);
    // Nothing here yields to the server between these connects and the stop, so it cannot have accepted them.
    let mut clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = std::net::TcpStream::connect(server.addr).unwrap();
            io::Write::write_all(&mut client, POST.as_bytes()).unwrap();
            client
        })
        .collect();
    let report = server.stopped().await;
    assert_eq!((report.connections, report.requests), (20, 20));
    for client in &mut clients {
        let mut answer = String::new();
        io::Read::read_to_string(client, &mut answer).unwrap();
        assert!(
            answer.contains("connection: close") && answer.ends_with("hello"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_fresh_connection_may_send_its_request_a_little_later() {
    let server = Server::start(app(), |serve| serve);
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    until("accepted", || server.tracker.counts().total() == 1).await;
    server.stop.fire();
    sleep(Duration::from_millis(100)).await;
    client.write_all(POST.as_bytes()).await.unwrap();
    let answer = read_all(&mut client).await.unwrap();
    assert!(
        answer.contains("connection: close") && answer.ends_with("hello"),
        "{answer}"
    );
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn the_answer_to_a_client_that_still_sends_is_not_reset() {
    let server = Server::start(app(), |serve| serve);
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    client
        .write_all(b"GET /slow/200 HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .unwrap();
    until("in flight", || server.tracker.in_flight() == 1).await;
    server.stop.fire();
    // A pipelined request that will not be served: unread bytes that a plain close would answer with a reset.
    client.write_all(POST.as_bytes()).await.unwrap();
    let answer = read_all(&mut client).await.expect("FIN, not RST");
    assert!(
        answer.contains("connection: close") && answer.ends_with("slow"),
        "{answer}"
    );
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn a_client_that_has_its_answer_holds_up_no_stop_by_staying() {
    let grace = quick()
        .with_drain(Duration::from_secs(5))
        .with_linger(Duration::from_secs(30));
    for request in [POST, "GET / HTTP/1.1\r\nhost: test\r\n\r\n"] {
        let server = Server::start(app(), |serve| serve.grace(grace));
        let mut client = server.connect(request).await;
        until("idle", || server.tracker.counts().of(ConnState::Idle) == 1).await;
        let report = server.stopped().await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.cutoff, Duration::ZERO, "it waited for the client");
        let rest = read_all(&mut client).await.expect("FIN, not RST");
        assert!(rest.ends_with("hello"), "{rest}");
    }
}

#[tokio::test]
async fn an_answer_that_has_not_arrived_is_not_reset_by_what_comes_after_it() {
    // More than a client that does not read takes, and little enough for the kernel here to take all of it.
    const LARGE: usize = 30_000;
    let app = app().route("/large", get(|| async { "x".repeat(LARGE) }));
    let grace = quick().with_idle_grace(Duration::ZERO);
    let server = Server::start(app, |serve| serve.grace(grace));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(server.addr).await.unwrap();
    let request = b"GET /large HTTP/1.1\r\nhost: test\r\n\r\n";
    client.write_all(request).await.unwrap();
    until("idle", || server.tracker.counts().of(ConnState::Idle) == 1).await;
    server.stop.fire();
    // Half-closed by now; what the client sends crosses that.
    sleep(Duration::from_millis(200)).await;
    client.write_all(POST.as_bytes()).await.unwrap();
    let answer = read_all(&mut client).await.expect("FIN, not RST");
    assert!(
        answer.ends_with(&"x".repeat(LARGE)),
        "cut after {}",
        answer.len()
    );
    assert!(server.stopped().await.is_clean());
}
