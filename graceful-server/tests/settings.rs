//! Every setting of hyper, on the wire: it works, before a connection is parked and after it, or the server refuses it at its start.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

mod support;

use std::{
    convert::Infallible,
    io::ErrorKind,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    response::Response,
    routing::{any, get, post},
};
use graceful_server::{
    Grace, HandoffListener, Serve, ShutdownSignal, Timeouts, serve,
    settings::{Http1Settings, Http2Settings},
};
use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use support::{BOUND, Server, frames::PAYLOAD, quick, read_all, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

const PARKED_AFTER: Duration = Duration::from_millis(50);
const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

/// `/` copies the request's headers and extensions into the response.
fn app() -> Router {
    let copy = |request: Request| async move {
        let mut response = Response::new(Body::from("hello"));
        *response.extensions_mut() = request.extensions().clone();
        for (name, value) in request.headers() {
            if name.as_str().starts_with("x-") {
                response.headers_mut().append(name, value.clone());
            }
        }
        response
    };
    let large = || async { "x".repeat(1 << 20) };
    let slow = || async {
        sleep(Duration::from_millis(200)).await;
        "slow"
    };
    Router::new()
        .route("/", any(copy))
        .route("/large", get(large))
        .route("/slow", get(slow))
}

fn http1(change: impl FnOnce(&mut Http1Settings)) -> Server {
    let parks = Timeouts::default().with_park_after(PARKED_AFTER);
    Server::start(app(), |serve| serve.timeouts(parks).http1(change))
}

/// The response to `request` on a connection that stays open: up to `end`.
async fn ask(client: &mut TcpStream, request: &str, end: &str) -> String {
    client.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(end.as_bytes()) {
        let more = timeout(BOUND, client.read_buf(&mut seen)).await;
        let text = || String::from_utf8_lossy(&seen);
        assert_ne!(more.expect("a response in time").unwrap(), 0, "{}", text());
    }
    String::from_utf8(seen).unwrap()
}

/// A connection that had a response and is parked.
async fn parked(server: &Server) -> TcpStream {
    let mut client = server.connect("").await;
    ask(&mut client, GET, "hello").await;
    sleep(10 * PARKED_AFTER).await;
    client
}

/// The response to `request` as the first one of a connection, and the response on a parked connection: both connections to their end.
async fn both(server: &Server, request: &str) -> [String; 2] {
    let mut fresh = server.connect(request).await;
    let mut parked = parked(server).await;
    parked.write_all(request.as_bytes()).await.unwrap();
    [
        read_all(&mut fresh).await.unwrap(),
        read_all(&mut parked).await.unwrap(),
    ]
}

fn closing(line: &str, headers: &str) -> String {
    format!("{line}\r\nhost: test\r\nconnection: close\r\n{headers}\r\n")
}

async fn stops_cleanly(server: Server) {
    let report = server.stopped().await;
    assert_eq!((report.failed, report.left), (0, 0), "{report}");
}

#[tokio::test]
async fn http1_writes_and_reads_headers_as_it_is_set() {
    let plain = http1(|_| {});
    let set = http1(|http1| {
        http1
            .title_case_headers(true)
            .auto_date_header(false)
            .allow_multiple_spaces_in_request_line_delimiters(true)
            .ignore_invalid_headers(true);
    });
    let get = closing("GET / HTTP/1.1", "");
    for response in both(&plain, &get).await {
        assert!(response.contains("\r\ncontent-length: 5\r\n"), "{response}");
        assert!(response.contains("\r\ndate: "), "{response}");
    }
    for response in both(&set, &get).await {
        assert!(response.contains("\r\nContent-Length: 5\r\n"), "{response}");
        assert!(!response.contains("ate: "), "{response}");
    }
    for odd in [
        closing("GET  /  HTTP/1.1", ""),
        closing("GET / HTTP/1.1", "no colon\r\n"),
    ] {
        for response in both(&plain, &odd).await {
            assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
        }
        for response in both(&set, &odd).await {
            assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        }
    }
    let server = http1(|http1| {
        http1.preserve_header_case(true);
    });
    for response in both(&server, &closing("GET / HTTP/1.1", "X-MiXeD: 1\r\n")).await {
        assert!(response.contains("\r\nX-MiXeD: 1\r\n"), "{response}");
    }
}

#[tokio::test]
async fn http1_bounds_a_request_as_it_is_set() {
    let headers = |n: usize| (0..n).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let long = |n: usize| format!("x-long: {}\r\n", "x".repeat(n));
    type Change = fn(&mut Http1Settings);
    let limits: [(Change, String, String); 3] = [
        (|http1| _ = http1.max_headers(10), headers(8), headers(9)),
        (
            |http1| _ = http1.max_header_size(1000),
            long(500),
            long(1500),
        ),
        (
            |http1| _ = http1.max_buf_size(8192),
            long(7000),
            long(20_000),
        ),
    ];
    for (change, less, more) in limits {
        let server = http1(change);
        for response in both(&server, &closing("GET / HTTP/1.1", &less)).await {
            assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        }
        for response in both(&server, &closing("GET / HTTP/1.1", &more)).await {
            assert!(response.starts_with("HTTP/1.1 431 "), "{response}");
        }
    }
    // As many as can be set are served: a HeaderMap has room for them.
    let server = http1(|http1| _ = http1.max_headers(24_576));
    let most = closing("GET / HTTP/1.1", &headers(20_000));
    let response = both(&server, &most).await.concat();
    assert_eq!(response.matches("HTTP/1.1 200 ").count(), 2);
    stops_cleanly(server).await;
}

#[tokio::test]
async fn http1_ends_connections_as_it_is_set() {
    let server = http1(|http1| _ = http1.keep_alive(false));
    let mut client = server.connect(GET).await;
    let response = read_all(&mut client).await.unwrap();
    assert!(response.contains("connection: close"), "{response}");
    stops_cleanly(server).await;

    for enabled in [false, true] {
        let server = http1(|http1| _ = http1.half_close(enabled));
        let mut client = parked(&server).await;
        let slow = GET.replace("/ ", "/slow ");
        client.write_all(slow.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let response = read_all(&mut client).await.unwrap();
        assert_eq!(response.ends_with("slow"), enabled, "{response}");
    }
}

#[tokio::test]
async fn http1_writes_large_responses_whole_either_way() {
    for enabled in [false, true] {
        let server = http1(|http1| _ = http1.writev(enabled));
        for response in both(&server, &closing("GET /large HTTP/1.1", "")).await {
            let body = response.split("\r\n\r\n").nth(1).unwrap();
            assert_eq!(body.len(), 1 << 20);
        }
    }
}

const LIMIT: Duration = Duration::from_millis(600);

#[tokio::test]
async fn hypers_limit_on_request_headers_runs_while_hyper_has_the_connection() {
    let server = http1(|http1| _ = http1.header_read_timeout(LIMIT));
    let mut silent = server.connect("").await;
    let mut half = server.connect(&GET[..9]).await;
    let mut parked = parked(&server).await;
    assert!(!read_all(&mut half).await.unwrap().contains("200"));
    sleep(2 * LIMIT).await;
    for client in [&mut silent, &mut parked] {
        ask(client, GET, "hello").await;
    }
    sleep(10 * PARKED_AFTER).await;
    parked.write_all(&GET.as_bytes()[..9]).await.unwrap();
    assert!(!read_all(&mut parked).await.unwrap().contains("200"));

    // Where nothing is parked it is a limit on idle connections.
    let server = Server::start(app(), |serve| {
        let never = Timeouts::default().with_park_after(Duration::MAX);
        let limited = |http1: &mut Http1Settings| _ = http1.header_read_timeout(LIMIT);
        serve.timeouts(never).http1(limited)
    });
    let mut idle = server.connect("").await;
    ask(&mut idle, GET, "hello").await;
    assert_eq!(read_all(&mut idle).await.unwrap(), "");
}

#[tokio::test]
async fn durations_that_hyper_could_not_add_are_no_limit() {
    let server = http1(|http1| _ = http1.header_read_timeout(Duration::MAX));
    let mut client = parked(&server).await;
    ask(&mut client, GET, "hello").await;
    let server = Server::start(app(), |serve| {
        serve.http2(|http2| {
            http2
                .keep_alive_interval(Duration::MAX)
                .keep_alive_timeout(Duration::MAX);
        })
    });
    let mut peer = Http2::connect(&server).await;
    peer.get(1, b"").await;
    peer.until(|frame| frame.ends(1)).await;
}

/// Counts its calls.
struct Counting(TokioTimer, Arc<AtomicUsize>);

impl Timer for Counting {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.1.fetch_add(1, SeqCst);
        self.0.sleep(duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.1.fetch_add(1, SeqCst);
        self.0.sleep_until(deadline)
    }
}

#[tokio::test]
async fn a_timer_of_the_users_is_used() {
    let calls = Arc::<AtomicUsize>::default();
    let timer = || Counting(TokioTimer::new(), calls.clone());
    let server = http1(|http1| _ = http1.timer(timer()).header_read_timeout(BOUND));
    ask(&mut server.connect("").await, GET, "hello").await;
    assert!(calls.swap(0, SeqCst) > 0);
    let server = Server::start(app(), |serve| {
        serve.http2(|http2| _ = http2.timer(timer()).keep_alive_interval(BOUND))
    });
    let mut peer = Http2::connect(&server).await;
    peer.get(1, b"").await;
    peer.until(|frame| frame.ends(1)).await;
    assert!(calls.load(SeqCst) > 0);
}

#[tokio::test]
async fn values_that_hyper_would_panic_about_are_refused_at_the_start() {
    type Change = fn(Serve) -> Serve;
    let refused: [(&str, Change); 7] = [
        ("http1.pipeline_flush", |serve| {
            serve.http1(|http1| _ = http1.pipeline_flush(true))
        }),
        ("http1.max_buf_size", |serve| {
            serve.http1(|http1| _ = http1.max_buf_size(8191))
        }),
        ("http1.max_headers", |serve| {
            serve.http1(|http1| _ = http1.max_headers(24_577))
        }),
        ("http2.max_frame_size", |serve| {
            serve.http2(|http2| _ = http2.max_frame_size(16_383))
        }),
        ("http2.initial_stream_window_size", |serve| {
            serve.http2(|http2| _ = http2.initial_stream_window_size(1 << 31))
        }),
        ("http2.initial_connection_window_size", |serve| {
            serve.http2(|http2| _ = http2.initial_connection_window_size(1 << 31))
        }),
        ("http2.max_send_buf_size", |serve| {
            serve.http2(|http2| _ = http2.max_send_buf_size(1 << 32))
        }),
    ];
    for (setting, change) in refused {
        let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
        let server = change(serve(listener, app()).stop_on(ShutdownSignal::manual().1));
        let error = timeout(BOUND, server.into_future()).await;
        let error = error.expect("an error at once").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with(setting), "{error}");
    }
    let server = http1(|http1| _ = http1.pipeline_flush(false).max_buf_size(8192));
    ask(&mut server.connect("").await, GET, "hello").await;
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;
const REFUSED_STREAM: u32 = 7;

/// A client of HTTP/2, frame by frame.
struct Http2(TcpStream);

#[derive(Clone, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn ends(&self, stream: u32) -> bool {
        self.stream == stream && self.kind <= HEADERS && self.flags & 1 != 0
    }

    fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// Of SETTINGS.
    fn setting(&self, id: u8) -> Option<u32> {
        let mut all = self.payload.chunks(6);
        let one = all.find(|setting| setting[..2] == [0, id])?;
        Some(u32::from_be_bytes(one[2..].try_into().unwrap()))
    }
}

impl Http2 {
    async fn connect(server: &Server) -> Self {
        let mut peer = Self(TcpStream::connect(server.addr).await.unwrap());
        peer.0
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        peer.send(SETTINGS, 0, 0, b"").await;
        peer
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        // The server may have closed the connection.
        let _ = self.0.write_all(&[&head, payload].concat()).await;
    }

    /// GET of `/` with `more` headers, in HPACK.
    async fn get(&mut self, stream: u32, more: &[u8]) {
        let block = [b"\x82\x86\x84\x41\x04test", more].concat();
        self.send(HEADERS, 5, stream, &block).await;
    }

    async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        let read = timeout(BOUND, self.0.read_exact(&mut head)).await;
        read.expect("a frame in time").ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes(head[5..].try_into().unwrap()),
            payload,
        })
    }

    /// The first frame that is `wanted`.
    async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next().await.expect("a frame before the end");
            if wanted(&frame) {
                return frame;
            }
        }
    }

    async fn settings(&mut self) -> Frame {
        self.until(|frame| frame.kind == SETTINGS && frame.flags == 0)
            .await
    }
}

fn http2(change: impl FnOnce(&mut Http2Settings)) -> Server {
    Server::start(app(), |serve| serve.http2(change))
}

#[tokio::test]
async fn http2_announces_the_settings() {
    let (table, connect, streams, window, frame, list) = (1, 8, 3, 4, 5, 6);
    let server = http2(|http2| {
        http2
            .header_table_size(1000)
            .max_concurrent_streams(7)
            .initial_stream_window_size(70_000)
            .initial_connection_window_size(165_535)
            .max_frame_size(20_000)
            .max_header_list_size(2000);
    });
    let mut peer = Http2::connect(&server).await;
    let announced = peer.settings().await;
    for (id, value) in [
        (table, 1000),
        (connect, 1),
        (streams, 7),
        (window, 70_000),
        (frame, 20_000),
        (list, 2000),
    ] {
        assert_eq!(announced.setting(id), Some(value), "setting {id}");
    }
    let update = peer.until(|frame| frame.kind == WINDOW_UPDATE).await;
    assert_eq!((update.stream, update.number(0)), (0, 100_000));

    // They are not only announced.
    let long = [b"\x00\x05x-big\x7f\xb9\x16".as_slice(), &[b'x'; 3000]].concat();
    peer.get(1, &long).await;
    let refused = peer.until(|frame| frame.stream == 1).await;
    assert_eq!(refused.kind, HEADERS, "{refused:?}");
    // 431, in Huffman code.
    assert!(
        refused
            .payload
            .windows(3)
            .any(|part| part == b"\x69\x90\xff")
    );

    let unlimited = http2(|http2| {
        http2
            .max_concurrent_streams(None)
            .enable_connect_protocol()
            .adaptive_window(true);
    });
    let announced = Http2::connect(&unlimited).await.settings().await;
    assert_eq!(announced.setting(streams), None);
    assert_eq!(announced.setting(connect), Some(1));
    assert!(announced.setting(window).is_none_or(|size| size == 65_535));
}

#[tokio::test]
async fn http2_bounds_streams_as_it_is_set() {
    let app = app().route(
        "/never",
        get(|| async { std::future::pending::<&str>().await }),
    );
    let server = Server::start(app, |serve| {
        serve.http2(|http2| _ = http2.max_concurrent_streams(2))
    });
    let mut peer = Http2::connect(&server).await;
    peer.settings().await;
    peer.send(SETTINGS, ACK, 0, b"").await;
    for stream in [1, 3, 5] {
        let never = b"\x82\x86\x44\x06/never\x41\x04test";
        peer.send(HEADERS, 5, stream, never).await;
    }
    let reset = peer.until(|frame| frame.kind == RST_STREAM).await;
    assert_eq!((reset.stream, reset.number(0)), (5, REFUSED_STREAM));
    until("two", || server.tracker.in_flight() == 2).await;
    assert_eq!(server.tracker.totals().1, 2, "the third is no request");

    // Reset before they reach the service, in one write.
    let server = http2(|http2| _ = http2.max_pending_accept_reset_streams(3));
    let mut peer = Http2::connect(&server).await;
    let mut all = Vec::new();
    for n in 0..8 {
        let stream = (2 * n + 1_u32).to_be_bytes();
        let block = b"\x82\x86\x84\x41\x04test";
        let head = [&[0, 0, block.len() as u8, HEADERS, 5], &stream[..], block].concat();
        let reset = [&[0, 0, 4, RST_STREAM, 0], &stream[..], &8_u32.to_be_bytes()].concat();
        all.extend([head, reset].concat());
    }
    peer.0.write_all(&all).await.unwrap();
    let end = peer.until(|frame| frame.kind == GOAWAY).await;
    assert_eq!(end.number(4), ENHANCE_YOUR_CALM);

    // Streams with an error: a body longer than announced.
    let server = http2(|http2| _ = http2.max_local_error_reset_streams(3));
    let mut peer = Http2::connect(&server).await;
    for n in 0..8 {
        let short = b"\x83\x86\x84\x41\x04test\x0f\x0d\x011";
        peer.send(HEADERS, 4, 2 * n + 1, short).await;
        peer.send(DATA, 1, 2 * n + 1, b"longer").await;
    }
    let end = peer.until(|frame| frame.kind == GOAWAY).await;
    assert_eq!(end.number(4), ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn http2_leaves_out_the_date_if_it_is_set_so() {
    // Name 33 of HPACK's static table, with a place in the dynamic one.
    let has_date = |frame: &Frame| frame.payload.contains(&0x61);
    for enabled in [false, true] {
        let server = http2(|http2| _ = http2.auto_date_header(enabled));
        let mut peer = Http2::connect(&server).await;
        peer.get(1, b"").await;
        let head = peer.until(|frame| frame.kind == HEADERS).await;
        assert_eq!(has_date(&head), enabled, "{head:?}");
    }
}

/// A body without an end that counts the bytes it has given.
struct Endless(Arc<AtomicUsize>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        self.0.fetch_add(1000, SeqCst);
        let part = Bytes::from_static(&[b'x'; 1000]);
        Poll::Ready(Some(Ok(http_body::Frame::data(part))))
    }
}

/// Until nothing changes any more.
async fn settled(taken: &AtomicUsize) -> usize {
    loop {
        let before = taken.load(SeqCst);
        sleep(Duration::from_millis(200)).await;
        if before > 0 && taken.load(SeqCst) == before {
            return before;
        }
    }
}

#[tokio::test]
async fn http2_buffers_as_much_of_a_response_as_it_is_set() {
    const MUCH: usize = 64 << 20;
    let mut taken = Vec::new();
    for size in [1000, MUCH] {
        let count = Arc::<AtomicUsize>::default();
        let body = count.clone();
        let endless = || async move { Response::new(Body::new(Endless(body))) };
        let app = Router::new().route("/", get(endless));
        let server = Server::start(app, |serve| {
            serve.http2(|http2| _ = http2.max_send_buf_size(size))
        });
        let mut peer = Http2::connect(&server).await;
        // Windows that are no limit. The peer does not read, so the kernel's buffers become full.
        peer.send(SETTINGS, 0, 0, b"\x00\x04\x7f\xff\xff\xff").await;
        peer.send(WINDOW_UPDATE, 0, 0, b"\x7f\xff\x00\x00").await;
        peer.get(1, b"").await;
        taken.push(timeout(BOUND, settled(&count)).await.unwrap());
    }
    assert!(taken[0] < MUCH && taken[1] > MUCH, "{taken:?}");
}

#[tokio::test]
async fn http2_measures_the_bandwidth_if_it_is_set_so() {
    let app = Router::new().route("/", post(|body: Bytes| async move { body }));
    let server = Server::start(app, |serve| {
        serve.http2(|http2| _ = http2.adaptive_window(true))
    });
    let mut peer = Http2::connect(&server).await;
    peer.send(HEADERS, 4, 1, b"\x83\x86\x84\x41\x04test").await;
    peer.send(DATA, 1, 1, &[0; 10_000]).await;
    let ping = peer.until(|frame| frame.kind == PING).await;
    peer.send(PING, ACK, 0, &ping.payload).await;
    peer.until(|frame| frame.ends(1)).await;
    stops_cleanly(server).await;
}

const INTERVAL: Duration = Duration::from_millis(100);

#[tokio::test]
async fn http2_closes_a_connection_whose_peer_sends_no_pong() {
    let server = http2(|http2| {
        http2
            .keep_alive_interval(INTERVAL)
            .keep_alive_timeout(INTERVAL);
    });
    let mut peer = Http2::connect(&server).await;
    peer.get(1, b"").await;
    peer.until(|frame| frame.ends(1)).await;
    let ping = peer.until(|frame| frame.kind == PING).await;
    assert_ne!(ping.payload, PAYLOAD);
    peer.send(PING, ACK, 0, &ping.payload).await;
    peer.until(|frame| frame.kind == PING).await;
    while peer.next().await.is_some() {}
    until("closed", || server.tracker.counts().total() == 0).await;
}

/// The PONGs to hyper's own PINGs do not count as the PONG to the GOAWAY's PING, and do not delay the end of the drain.
#[tokio::test]
async fn a_drain_ends_for_a_peer_that_sends_pongs_to_hyper_and_none_to_the_goaway() {
    let server = Server::start(app(), |serve| {
        let grace: Grace = quick().with_drain(BOUND);
        serve
            .grace(grace)
            .http2(|http2| _ = http2.keep_alive_interval(INTERVAL))
    });
    let mut peer = Http2::connect(&server).await;
    peer.get(1, b"").await;
    peer.until(|frame| frame.ends(1)).await;
    server.stop.fire();
    let mut last = Vec::new();
    while let Some(frame) = peer.next().await {
        if frame.kind == PING && frame.flags == 0 && frame.payload != PAYLOAD {
            peer.send(PING, ACK, 0, &frame.payload).await;
        }
        if frame.kind == GOAWAY {
            last.push((frame.number(0), frame.number(4)));
        }
    }
    assert_eq!(last.last(), Some(&(1, 0)), "{last:?}");
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
}
