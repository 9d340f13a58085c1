//! Idle connections give back what their HTTP server holds, and their clients notice nothing.
//!
//! Alone in its file, for the allocator that counts belongs to the process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

mod support;
#[cfg(feature = "tls")]
#[path = "support/tls.rs"]
mod tls;

use std::{alloc::System, time::Duration};

use axum::{Router, body::Body, routing::post};
use cap::Cap;
use graceful_server::{ConnState, Phase, Serve, Timeouts};
use http_body_util::BodyExt;
use hyper_util::rt::TokioTimer;
use support::{BOUND, Server, app, read_all, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Mutex, mpsc},
    time::{sleep, timeout},
};

/// What hyper's two buffers of a connection take: nearly all that there is of one.
const BUFFERS: usize = 16 << 10;
/// How many connections make that more than whatever else the process allocates meanwhile.
const MANY: usize = 64;
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// One test at a time, for they look at what all of the process has allocated.
static ALONE: Mutex<()> = Mutex::const_new(());

/// What was allocated before.
struct Before(usize);

impl Before {
    fn now() -> Self {
        Self(ALLOCATOR.allocated())
    }

    fn are_awake(&self) -> bool {
        ALLOCATOR.allocated() > self.0 + MANY * BUFFERS
    }

    async fn until_at_rest(&self) {
        let most = self.0 + MANY * BUFFERS / 2;
        until("at rest", || ALLOCATOR.allocated() < most).await;
    }
}

/// A server, and clients that have asked once.
async fn idle(app: Router, rest: Duration) -> (Server, Vec<TcpStream>) {
    idle_under(app, rest, |serve| serve).await
}

/// The same of a server that has more said to it.
async fn idle_under(
    app: Router,
    rest: Duration,
    more: impl FnOnce(Serve) -> Serve,
) -> (Server, Vec<TcpStream>) {
    let timeouts = Timeouts::default().with_park_after(rest);
    let server = Server::start(app, |serve| more(serve.timeouts(timeouts)));
    let mut clients = Vec::new();
    for _ in 0..MANY {
        let mut client = TcpStream::connect(server.addr).await.unwrap();
        ask(&mut client, GET).await;
        clients.push(client);
    }
    all_idle(&server, MANY).await;
    (server, clients)
}

async fn all_idle(server: &Server, n: usize) {
    let idle = || server.tracker.counts().of(ConnState::Idle) == n;
    until("idle", idle).await;
}

/// Sends `request`, which is answered by `hello`, with nothing about an end.
async fn ask(client: &mut TcpStream, request: &[u8]) {
    client.write_all(request).await.unwrap();
    hello(client).await;
}

async fn hello(client: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        let read = timeout(BOUND, client.read_buf(&mut answer)).await;
        assert!(read.expect("an answer in time").unwrap() > 0, "{answer:?}");
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(!answer.contains("connection:"), "{answer}");
}

#[tokio::test]
async fn an_idle_connection_gives_its_buffers_back_and_goes_on_all_the_same() {
    let _alone = ALONE.lock().await;
    let before = Before::now();
    let (server, mut clients) = idle(app(), Duration::from_secs(3)).await;
    for _ in 0..2 {
        assert!(before.are_awake());
        before.until_at_rest().await;
        all_idle(&server, MANY).await;
        for client in &mut clients {
            ask(client, GET).await;
        }
    }
    let report = server.stopped().await;
    let many = MANY as u64;
    assert_eq!((report.connections, report.requests), (many, 3 * many));
}

#[tokio::test]
async fn whatever_comes_to_a_connection_at_rest_is_taken_as_if_it_had_been_awake() {
    let _alone = ALONE.lock().await;
    let before = Before::now();
    let (server, clients) = idle(app(), Duration::ZERO).await;
    before.until_at_rest().await;
    let mut clients = clients.into_iter();
    let mut next = || clients.next().unwrap();

    let mut halves = next();
    halves.write_all(&GET[..9]).await.unwrap();
    let active = || server.tracker.counts().of(ConnState::Active) == 1;
    until("half a head", active).await;
    ask(&mut halves, &GET[9..]).await;

    let mut two = next();
    two.write_all(&[GET, GET].concat()).await.unwrap();
    let mut answers = [0; 1024];
    let mut read = 0;
    while answers[..read]
        .windows(5)
        .filter(|at| at == b"hello")
        .count()
        < 2
    {
        let more = timeout(BOUND, two.read(&mut answers[read..])).await;
        read += more.expect("two answers in time").unwrap();
    }

    // HTTP/1 it stays, where that is nothing to answer to.
    let mut preface = next();
    preface
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_all(&mut preface).await.unwrap(), "");

    let all = server.tracker.counts().total();
    let mut ends = next();
    ends.shutdown().await.unwrap();
    assert_eq!(read_all(&mut ends).await.unwrap(), "");
    let one_less = || server.tracker.counts().total() == all - 1;
    until("gone", one_less).await;

    // Those that are left hear of a stop: by their answer, or by the end of the stream.
    let mut asks = next();
    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;
    asks.write_all(GET).await.unwrap();
    let last = read_all(&mut asks).await.unwrap();
    assert!(last.contains("connection: close") && last.ends_with("hello"));
    for mut client in clients {
        assert_eq!(read_all(&mut client).await.unwrap(), "");
    }
    let report = server.stopped().await;
    assert_eq!((report.left, report.cut.len(), report.failed), (0, 0, 0));
}

/// It runs where there is a server of hyper's to run it: not before the first byte of a head, but from it on.
#[tokio::test]
async fn a_limit_of_hypers_on_heads_does_not_run_at_rest_and_does_behind_it() {
    const LIMIT: Duration = Duration::from_secs(2);
    let _alone = ALONE.lock().await;
    let before = Before::now();
    let limited = |serve: Serve| {
        serve.http1(|http1| {
            http1.timer(TokioTimer::new()).header_read_timeout(LIMIT);
        })
    };
    let (server, mut clients) = idle_under(app(), Duration::ZERO, limited).await;
    before.until_at_rest().await;
    sleep(2 * LIMIT).await;
    for client in &mut clients {
        ask(client, GET).await;
    }
    before.until_at_rest().await;
    let mut halves = clients.pop().unwrap();
    halves.write_all(&GET[..9]).await.unwrap();
    assert!(!read_all(&mut halves).await.unwrap().contains("hello"));
    all_idle(&server, MANY - 1).await;
    server.stopped().await;
}

#[tokio::test]
async fn a_body_that_is_still_read_keeps_its_connection_awake_and_open() {
    let _alone = ALONE.lock().await;
    let (read, mut parts) = mpsc::unbounded_channel();
    let early = post(|mut body: Body| async move {
        // hyper does not say that it was the last part, not before the next request.
        tokio::spawn(async move {
            while let Some(Ok(part)) = body.frame().await {
                read.send(part.into_data().unwrap()).unwrap();
            }
        });
        "hello"
    });
    let app = app().route("/early", early);
    let before = Before::now();
    let (server, mut clients) = idle(app, Duration::ZERO).await;
    let mut upload = server.connect("").await;
    let head = b"POST /early HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nfirst";
    ask(&mut upload, head).await;
    all_idle(&server, MANY + 1).await;
    // They become idle after it, and rest.
    for client in &mut clients {
        ask(client, GET).await;
    }
    before.until_at_rest().await;
    upload.write_all(b" then").await.unwrap();
    for expected in ["first", " then"] {
        let part = timeout(BOUND, parts.recv()).await;
        assert_eq!(part.expect("a part in time").unwrap(), expected);
    }
    ask(&mut upload, GET).await;
    server.stopped().await;
}

#[tokio::test]
async fn a_connection_on_which_an_upgrade_was_offered_stays_open() {
    let _alone = ALONE.lock().await;
    let before = Before::now();
    let (server, mut clients) = idle(app(), Duration::ZERO).await;
    let mut offers = server.connect("").await;
    let head = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
    ask(&mut offers, head).await;
    all_idle(&server, MANY + 1).await;
    // They become idle after it, and rest.
    for client in &mut clients {
        ask(client, GET).await;
    }
    before.until_at_rest().await;
    ask(&mut offers, GET).await;
    server.stopped().await;
}

/// hyper gives up a connection for it, after the answer: what comes then must not be taken for a request.
#[tokio::test]
async fn a_body_that_nobody_reads_is_not_served_as_a_request() {
    let unread = b"GET / HTTP/1.1\r\nhost: test\r\ncontent-length: 33\r\n\r\n";
    let _alone = ALONE.lock().await;
    let (server, mut clients) = idle(app(), Duration::ZERO).await;
    let mut client = clients.remove(0);
    // When it rests, what hyper has read of a next request is seen.
    ask(&mut client, &[GET, &unread[..1]].concat()).await;
    let seen = || server.tracker.counts().of(ConnState::Active) == 1;
    until("half a head", seen).await;
    ask(&mut client, &unread[1..]).await;
    let _ = client.write_all(GET).await;
    let mut answer = Vec::new();
    let end = timeout(BOUND, client.read_to_end(&mut answer)).await;
    // A reset is an end as well.
    let _ = end.expect("an end in time");
    assert_eq!(String::from_utf8_lossy(&answer), "");
    server.stopped().await;
}

/// Nor while the connection is lingered on, which looks as if it were idle.
#[tokio::test]
async fn what_comes_after_the_end_of_a_connection_is_read_and_forgotten() {
    let _alone = ALONE.lock().await;
    let app = app().route("/unread", post(|| async { "hello" }));
    let (server, _clients) = idle(app, Duration::ZERO).await;
    let mut upload = server.connect("").await;
    ask(
        &mut upload,
        b"POST /unread HTTP/1.1\r\nhost: test\r\ncontent-length: 9999\r\n\r\n",
    )
    .await;
    // Over many of the walks in which all are looked at.
    for _ in 0..12 {
        sleep(Duration::from_millis(50)).await;
        upload.write_all(GET).await.unwrap();
    }
    assert_eq!(read_all(&mut upload).await.unwrap(), "");
    drop(upload);
    let report = server.stopped().await;
    assert_eq!(report.requests, MANY as u64 + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_that_comes_in_the_instant_of_the_rest() {
    let _alone = ALONE.lock().await;
    let (server, clients) = idle(app(), Duration::ZERO).await;
    let busy = clients.into_iter().enumerate().map(|(at, mut client)| {
        tokio::spawn(async move {
            for turn in 0..60 {
                // Around the tenth of a second in which all are looked at.
                sleep(Duration::from_micros(
                    (at * 977 + turn * 1733) as u64 % 110_000,
                ))
                .await;
                ask(&mut client, GET).await;
            }
        })
    });
    for client in busy.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let report = server.stopped().await;
    assert_eq!(
        (report.connections, report.requests),
        (MANY as u64, 61 * MANY as u64)
    );
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn with_tls_as_well() {
    let _alone = ALONE.lock().await;
    let timeouts = Timeouts::default().with_park_after(Duration::ZERO);
    let server = Server::start(app(), |serve| serve.tls(tls::config()).timeouts(timeouts));
    let mut clients = Vec::new();
    for _ in 0..MANY {
        clients.push(tls::connect(server.addr).await);
    }
    let before = Before::now();
    for _ in 0..2 {
        for client in &mut clients {
            client.write_all(GET).await.unwrap();
            let mut answer = [0; 1024];
            let read = client.read(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer[..read]);
            assert!(answer.ends_with("hello") && !answer.contains("connection:"));
        }
        before.until_at_rest().await;
    }
    let stopped = tokio::spawn(server.stopped());
    // Without a goodbye that were an error.
    for client in &mut clients {
        let end = timeout(BOUND, client.read(&mut [0; 64])).await;
        assert_eq!(end.expect("an end in time").unwrap(), 0);
    }
    stopped.await.unwrap();
}
