//! hyper decides whether a connection is between two HTTP/1 requests: incomplete headers of a next request, empty lines, a body
//! that is read after its response (law 6).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

mod support;
#[cfg(feature = "tls")]
#[path = "support/tls.rs"]
mod tls;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    routing::{any, get, post},
};
use graceful_server::{
    ConnState, Grace, HandoffListener, Phase, Report, Serve, ShutdownSignal, Timeouts, Tracker,
    serve, signal::Trigger,
};
use http_body_util::BodyExt;
use support::{BOUND, quick, until};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
/// A request whose response has its own body, which is `abc`.
const LAST: &str = "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\nabc";
/// Requests whose response is `hello`: the method, and the text after the path.
const BEFORE: [(&str, &str); 4] = [
    ("GET", " HTTP/1.1\r\nhost: test\r\n\r\n"),
    ("GET", " HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"),
    (
        "POST",
        " HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody",
    ),
    (
        "POST",
        " HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ),
];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

// The server.

/// The transport of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tcp,
    Unix,
    #[cfg(feature = "tls")]
    Tls,
}

const KINDS: &[Kind] = &[
    Kind::Tcp,
    Kind::Unix,
    #[cfg(feature = "tls")]
    Kind::Tls,
];

struct Server {
    kind: Kind,
    addr: String,
    folder: PathBuf,
    stop: Trigger,
    signal: ShutdownSignal,
    tracker: Tracker,
    report: JoinHandle<io::Result<Report>>,
}

impl Server {
    fn start(kind: Kind, app: Router, more: impl FnOnce(Serve) -> Serve) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Relaxed);
        let name = format!("graceful-detach-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let at = match kind {
            Kind::Unix => {
                std::fs::create_dir_all(&folder).unwrap();
                format!("unix:{}", folder.join("socket").display())
            }
            _ => "127.0.0.1:0".to_owned(),
        };
        let listener = HandoffListener::bind(at.as_str()).unwrap();
        let addr = match kind {
            Kind::Unix => folder.join("socket").display().to_string(),
            _ => listener.local_addr().to_string(),
        };
        let (stop, signal) = ShutdownSignal::manual();
        let serve = serve(listener, app).stop_on(signal.clone());
        let serve = more(match kind {
            #[cfg(feature = "tls")]
            Kind::Tls => serve.tls(tls::config()),
            _ => serve,
        });
        let tracker = serve.tracker().clone();
        let report = tokio::spawn(serve.into_future());
        Self {
            kind,
            addr,
            folder,
            stop,
            signal,
            tracker,
            report,
        }
    }

    async fn client(&self) -> Client {
        Client(match self.kind {
            Kind::Unix => Box::new(UnixStream::connect(&self.addr).await.unwrap()),
            Kind::Tcp => {
                let stream = TcpStream::connect(&self.addr).await.unwrap();
                stream.set_nodelay(true).unwrap();
                Box::new(stream)
            }
            #[cfg(feature = "tls")]
            Kind::Tls => Box::new(tls::connect(self.addr.parse().unwrap()).await),
        })
    }

    async fn until_state(&self, state: ConnState, n: usize) {
        let what = format!("{n} connections that are {state}");
        until(&what, || self.tracker.counts().of(state) == n).await;
    }

    async fn stopped(self) -> Report {
        if !self.signal.has_fired() {
            self.stop.fire();
        }
        let report = timeout(BOUND, self.report).await;
        let _ = std::fs::remove_dir_all(&self.folder);
        report.expect("a shutdown in time").unwrap().unwrap()
    }
}

// Its clients.

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

struct Client(Box<dyn Stream>);

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Reads up to `end`, and returns all of it.
    async fn read_until(&mut self, end: &str) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end.as_bytes()) {
            let read = timeout(BOUND, self.0.read_buf(&mut bytes)).await;
            let text = String::from_utf8_lossy(&bytes);
            let read = read.unwrap_or_else(|_| panic!("no {end:?}: {text:?}"));
            assert!(read.unwrap() > 0, "the end before {end:?}: {text:?}");
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Everything up to the end of the stream, or its failure.
    async fn rest(&mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        let read = timeout(BOUND, self.0.read_to_end(&mut bytes)).await;
        read.expect("an end in time")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

// Incomplete headers of a next request.

/// When the first bytes of the headers are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    WithTheRequestBefore,
    WhileThatIsHandled,
    AfterItsResponse,
}

const WHENS: [When; 3] = [
    When::WithTheRequestBefore,
    When::WhileThatIsHandled,
    When::AfterItsResponse,
];

/// The response of `/` and of `/held`, which waits for a permit, is `hello`. The response of `/echo` is the request's body.
fn app(held: &Arc<Semaphore>) -> Router {
    let held = held.clone();
    let waits = any(move |body: String| {
        let held = held.clone();
        async move {
            drop(body);
            drop(held.acquire().await.unwrap());
            "hello"
        }
    });
    let hello = any(|body: String| async {
        drop(body);
        "hello"
    });
    Router::new()
        .route("/", hello)
        .route("/held", waits)
        .route("/echo", post(|body: String| async { body }))
}

/// The same, if no request waits for a permit.
fn plain() -> Router {
    app(&Arc::new(Semaphore::new(0)))
}

/// Clients that have received `hello` and have sent the first bytes of [`LAST`], with the other bytes of it.
async fn with_halves(
    server: &Server,
    held: &Semaphore,
    cases: &[(When, (&str, &str), usize)],
) -> Vec<(String, Client, String)> {
    let mut clients = Vec::new();
    for &(when, (method, head), split) in cases {
        let mut client = server.client().await;
        let (half, rest) = LAST.split_at(split);
        let path = match when {
            When::WhileThatIsHandled => "/held",
            _ => "/",
        };
        let before = format!("{method} {path}{head}");
        match when {
            When::WithTheRequestBefore => client.send(&format!("{before}{half}")).await,
            _ => client.send(&before).await,
        }
        let what = format!("{:?} {when:?} {before:?}, {half:?}", server.kind);
        clients.push((what, client, rest.to_owned()));
    }
    let waiting = cases
        .iter()
        .filter(|case| case.0 == When::WhileThatIsHandled);
    let waiting = waiting.count();
    until("all are handled", || server.tracker.in_flight() == waiting).await;
    for (&(when, _, split), (_, client, _)) in cases.iter().zip(&mut clients) {
        match when {
            When::WithTheRequestBefore => {}
            When::WhileThatIsHandled => client.send(&LAST[..split]).await,
            When::AfterItsResponse => {
                client.read_until("hello").await;
                client.send(&LAST[..split]).await;
            }
        }
    }
    // Time for the server to read the bytes while the request is in its handler.
    sleep(ms(100)).await;
    held.add_permits(1 << 20);
    for (&(when, ..), (_, client, _)) in cases.iter().zip(&mut clients) {
        if when != When::AfterItsResponse {
            client.read_until("hello").await;
        }
    }
    clients
}

/// All positions of the split after one kind of request, a few positions after the other kinds.
fn all_cases() -> Vec<(When, (&'static str, &'static str), usize)> {
    let mut cases = Vec::new();
    let head = LAST.len() - "abc".len();
    for when in WHENS {
        for (at, before) in BEFORE.into_iter().enumerate() {
            let all: Vec<_> = match at {
                0 => (1..head).collect(),
                _ => vec![1, "POST /ec".len(), head - 1],
            };
            cases.extend(all.into_iter().map(|split| (when, before, split)));
        }
    }
    cases
}

async fn halves_are_completed(kind: Kind) {
    let held = Arc::new(Semaphore::new(0));
    let grace = quick()
        .with_idle_grace(ms(100))
        .with_first_request_grace(BOUND);
    let server = Server::start(kind, app(&held), |serve| serve.grace(grace));
    let cases = all_cases();
    let clients = with_halves(&server, &held, &cases).await;
    let mut idle = server.client().await;
    idle.send(GET).await;
    idle.read_until("hello").await;

    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;
    assert_eq!(idle.rest().await.unwrap(), "", "the idle grace is over");
    sleep(ms(200)).await;
    for (what, mut client, rest) in clients {
        client.send(&rest).await;
        let answer = client.rest().await;
        let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{what}: {answer}");
        assert!(answer.contains("connection: close"), "{what}: {answer}");
        assert!(answer.ends_with("abc"), "{what}: {answer}");
    }
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.requests, 2 * cases.len() as u64 + 1);
}

#[tokio::test]
async fn headers_that_began_with_or_after_a_request_are_completed_and_served_in_a_drain() {
    halves_are_completed(Kind::Tcp).await;
}

#[tokio::test]
async fn headers_that_began_with_or_after_a_request_are_completed_on_a_unix_socket() {
    halves_are_completed(Kind::Unix).await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn headers_that_began_with_or_after_a_request_are_completed_with_tls() {
    halves_are_completed(Kind::Tls).await;
}

fn few_cases() -> Vec<(When, (&'static str, &'static str), usize)> {
    let of = |when| BEFORE.map(|before| (when, before, "POST /ec".len()));
    WHENS.into_iter().flat_map(of).collect()
}

#[tokio::test]
async fn headers_that_are_never_completed_do_not_hold_a_drain() {
    let held = Arc::new(Semaphore::new(0));
    let grace = quick()
        .with_idle_grace(ms(100))
        .with_first_request_grace(ms(500))
        .with_drain(Duration::from_secs(300));
    let server = Server::start(Kind::Tcp, app(&held), |serve| serve.grace(grace));
    let cases = few_cases();
    let clients = with_halves(&server, &held, &cases).await;
    let report = server.stopped().await;
    assert_eq!(
        (report.cutoff, report.left),
        (Duration::ZERO, 0),
        "{report}"
    );
    assert_eq!(report.requests, cases.len() as u64);
    drop(clients);
}

#[tokio::test]
async fn in_service_incomplete_headers_after_a_request_are_bounded_like_all_others() {
    for park_after in [Duration::ZERO, ms(100), Duration::MAX] {
        let held = Arc::new(Semaphore::new(0));
        let timeouts = Timeouts::default()
            .with_head(ms(700))
            .with_park_after(park_after);
        let server = Server::start(Kind::Tcp, app(&held), |serve| serve.timeouts(timeouts));
        let mut idle = server.client().await;
        idle.send(GET).await;
        idle.read_until("hello").await;
        let cases = few_cases();
        for (what, mut client, rest) in with_halves(&server, &held, &cases).await {
            // A reset is an end as well.
            let end = client.rest().await.unwrap_or_default();
            assert_eq!(end, "", "{what}");
            let _ = client.0.write_all(rest.as_bytes()).await;
        }
        idle.send(GET).await;
        idle.read_until("hello").await;
        let report = server.stopped().await;
        assert_eq!(report.requests, cases.len() as u64 + 2, "{park_after:?}");
    }
}

#[tokio::test]
async fn in_service_headers_that_began_with_a_request_are_completed_and_the_connection_is_kept() {
    for park_after in [Duration::ZERO, Duration::MAX] {
        let held = Arc::new(Semaphore::new(0));
        let timeouts = Timeouts::default().with_park_after(park_after);
        let server = Server::start(Kind::Tcp, app(&held), |serve| serve.timeouts(timeouts));
        let clients = with_halves(&server, &held, &few_cases()).await;
        // Longer than some periods of the sweep.
        sleep(ms(400)).await;
        for (what, mut client, rest) in clients {
            client.send(&rest).await;
            let answer = client.read_until("abc").await;
            assert!(!answer.contains("connection: close"), "{what}: {answer}");
            client.send(GET).await;
            client.read_until("hello").await;
        }
        assert!(server.stopped().await.is_clean());
    }
}

// Empty lines.

/// Packets of empty lines and of half an empty line.
const LINES: [&[&str]; 7] = [
    &["\r\n"],
    &["\n"],
    &["\r"],
    &["\r", "\n"],
    &["\r\n\r\n\r\n"],
    &["\r\n", "\n", "\r\n\r"],
    &["\r\n", "\r\n", "\r\n", "\r\n"],
];

/// Clients that have received `hello`, and have sent empty lines together with the request or after its response.
async fn with_empty_lines(server: &Server) -> Vec<(String, Client)> {
    let mut clients = Vec::new();
    for (method, head) in BEFORE {
        for lines in LINES {
            for together in [false, true] {
                let mut client = server.client().await;
                let before = format!("{method} /{head}");
                let what = format!("{:?} {before:?} {lines:?} {together}", server.kind);
                if together {
                    client.send(&format!("{before}{}", lines.concat())).await;
                    client.read_until("hello").await;
                } else {
                    client.send(&before).await;
                    client.read_until("hello").await;
                    for line in lines {
                        client.send(line).await;
                        sleep(ms(2)).await;
                    }
                }
                clients.push((what, client));
            }
        }
    }
    clients
}

#[tokio::test]
async fn empty_lines_after_a_request_leave_a_connection_idle_and_it_ends_with_fin() {
    for &kind in KINDS {
        // Incomplete headers have this time, and are reset after it.
        let grace = quick().with_first_request_grace(BOUND);
        let server = Server::start(kind, plain(), |serve| serve.grace(grace));
        let mut clients = with_empty_lines(&server).await;
        server.until_state(ConnState::Idle, clients.len()).await;
        server.stop.fire();
        for (what, client) in &mut clients {
            let end = client.rest().await;
            assert_eq!(end.unwrap_or_else(|e| panic!("{what}: {e}")), "", "{what}");
        }
        let report = server.stopped().await;
        assert!(report.is_clean(), "{report}");
    }
}

#[tokio::test]
async fn endless_empty_lines_do_not_hold_a_drain() {
    let grace = quick()
        .with_idle_grace(ms(500))
        .with_first_request_grace(BOUND)
        .with_drain(Duration::from_secs(300));
    let server = Server::start(Kind::Tcp, plain(), |serve| serve.grace(grace));
    let mut client = server.client().await;
    client.send(GET).await;
    client.read_until("hello").await;
    server.stop.fire();
    let goes_on = tokio::spawn(async move {
        while client.0.write_all(b"\r\n").await.is_ok() {
            sleep(ms(50)).await;
        }
    });
    let report = server.stopped().await;
    assert_eq!(report.cutoff, Duration::ZERO, "{report}");
    goes_on.await.unwrap();
}

#[tokio::test]
async fn empty_lines_before_a_request_are_skipped_parked_or_not() {
    for park_after in [Duration::ZERO, Duration::MAX] {
        // No other timeout closes a silent connection.
        let timeouts = Timeouts::off().with_park_after(park_after);
        let server = Server::start(Kind::Tcp, plain(), |serve| {
            serve.timeouts(timeouts).grace(quick())
        });
        let mut clients = with_empty_lines(&server).await;
        for lines in LINES {
            let mut fresh = server.client().await;
            for line in lines {
                fresh.send(line).await;
                sleep(ms(2)).await;
            }
            clients.push((format!("first, {lines:?}"), fresh));
        }
        // Longer than some periods of the sweep.
        sleep(ms(400)).await;
        for (what, client) in &mut clients {
            // After half of a line its other half has to follow.
            let half = what.contains(r#"\r"]"#);
            client.send(if half { "\n" } else { "\r\n" }).await;
            client.send(LAST).await;
            let answer = client.read_until("abc").await;
            assert!(answer.contains(" 200 "), "{what}: {answer}");
        }
        assert!(server.stopped().await.is_clean());
    }
}

#[tokio::test]
async fn a_connection_that_has_sent_only_empty_lines_is_closed_like_a_silent_connection() {
    let grace = quick().with_first_request_grace(ms(500));
    let server = Server::start(Kind::Tcp, plain(), |serve| serve.grace(grace));
    let mut client = server.client().await;
    client.send("\r\n\r\n").await;
    server.until_state(ConnState::New, 1).await;
    server.stop.fire();
    assert_eq!(client.rest().await.unwrap(), "", "FIN, not RST");
    assert!(server.stopped().await.is_clean());
}

// A body that is read after its response.

const UPLOAD: &str = "0123456789";

/// How a request with the body [`UPLOAD`] is sent.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Length,
    Chunked,
    GetWithLength,
}

const FRAMINGS: [Framing; 3] = [Framing::Length, Framing::Chunked, Framing::GetWithLength];

impl Framing {
    fn head(self) -> &'static str {
        match self {
            Self::Length => "POST /late HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n",
            Self::Chunked => {
                "POST /late HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n"
            }
            Self::GetWithLength => "GET /late HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n",
        }
    }

    fn packets(self) -> Vec<String> {
        let packet = |at: usize| match self {
            Self::Chunked => format!("1\r\n{}\r\n", &UPLOAD[at..=at]),
            _ => UPLOAD[at..=at].to_owned(),
        };
        let mut packets: Vec<_> = (0..UPLOAD.len()).map(packet).collect();
        if matches!(self, Self::Chunked) {
            packets.push("0\r\n\r\n".to_owned());
        }
        packets
    }
}

/// The bodies that readers received, in the order in which they finished.
type Read = mpsc::UnboundedReceiver<Result<String, String>>;

/// The response of `/late` is `hello`, at once. Another task reads the body `pause` later.
fn late(pause: Duration) -> (Router, Read) {
    let (read, reads) = mpsc::unbounded_channel();
    let late = any(move |body: Body| async move {
        tokio::spawn(async move {
            sleep(pause).await;
            let whole = body.collect().await;
            let whole = whole.map(|all| String::from_utf8(all.to_bytes().to_vec()).unwrap());
            let _ = read.send(whole.map_err(|error| error.to_string()));
        });
        "hello"
    });
    (plain().route("/late", late), reads)
}

async fn next(reads: &mut Read) -> Result<String, String> {
    let read = timeout(BOUND, reads.recv()).await;
    read.expect("a reader that is done").unwrap()
}

async fn trickle(client: &mut Client, packets: &[String]) {
    for packet in packets {
        client.send(packet).await;
        sleep(ms(150)).await;
    }
}

/// All of `cases` at once, because they sleep most of the time.
async fn all_at_once(cases: impl IntoIterator<Item: Future<Output = ()> + Send + 'static>) {
    let mut running: tokio::task::JoinSet<()> = tokio::task::JoinSet::new();
    for case in cases {
        running.spawn(case);
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
}

async fn delivered_in_service(park_after: Duration, pause: Duration, framing: Framing) {
    let (app, mut reads) = late(pause);
    let timeouts = Timeouts::default()
        .with_head(ms(400))
        .with_park_after(park_after);
    let server = Server::start(Kind::Tcp, app, |serve| serve.timeouts(timeouts));
    let mut client = server.client().await;
    client.send(framing.head()).await;
    client.read_until("hello").await;
    trickle(&mut client, &framing.packets()).await;
    let what = format!("{park_after:?} {pause:?} {framing:?}");
    assert_eq!(next(&mut reads).await.as_deref(), Ok(UPLOAD), "{what}");
    // Idle for longer than `Timeouts::head`.
    sleep(ms(600)).await;
    client.send(GET).await;
    let answer = client.read_until("hello").await;
    assert!(!answer.contains("connection: close"), "{what}: {answer}");
    assert!(server.stopped().await.is_clean(), "{what}");
}

#[tokio::test]
async fn a_body_that_is_read_after_its_response_is_delivered_in_service_and_the_connection_is_kept()
{
    let mut cases = Vec::new();
    for park_after in [Duration::ZERO, Duration::MAX] {
        for pause in [Duration::ZERO, ms(500)] {
            cases.extend(FRAMINGS.map(|framing| delivered_in_service(park_after, pause, framing)));
        }
    }
    all_at_once(cases).await;
}

/// The first packets of the body come before the drain.
async fn delivered_in_a_drain(kind: Kind, first: usize, framing: Framing) {
    let (app, mut reads) = late(Duration::ZERO);
    let grace = quick()
        .with_idle_grace(ms(200))
        .with_first_request_grace(ms(400));
    let server = Server::start(kind, app, |serve| serve.grace(grace));
    let packets = framing.packets();
    let mut client = server.client().await;
    let head = framing.head();
    client
        .send(&format!("{head}{}", packets[..first].concat()))
        .await;
    client.read_until("hello").await;
    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;
    sleep(ms(500)).await;
    trickle(&mut client, &packets[first..]).await;
    let what = format!("{kind:?} {framing:?}, {first} packets before");
    assert_eq!(next(&mut reads).await.as_deref(), Ok(UPLOAD), "{what}");
    let end = client.rest().await;
    assert_eq!(end.unwrap_or_else(|e| panic!("{what}: {e}")), "", "{what}");
    let report = server.stopped().await;
    assert!(report.is_clean(), "{what}: {report}");
}

#[tokio::test]
async fn a_body_that_is_read_after_its_response_is_delivered_in_a_drain_and_ends_with_fin() {
    let mut cases = Vec::new();
    for &kind in KINDS {
        for first in [0, 3] {
            cases.extend(FRAMINGS.map(|framing| delivered_in_a_drain(kind, first, framing)));
        }
    }
    all_at_once(cases).await;
}

#[tokio::test]
async fn a_body_that_ends_with_an_empty_line_after_its_response_ends_for_its_reader() {
    let (app, mut reads) = late(Duration::ZERO);
    let server = Server::start(Kind::Tcp, app, |serve| serve);
    let mut client = server.client().await;
    client.send(FRAMINGS[0].head()).await;
    client.send(&UPLOAD[2..]).await;
    client.read_until("hello").await;
    sleep(ms(100)).await;
    client.send("\r\n").await;
    let whole = format!("{}\r\n", &UPLOAD[2..]);
    assert_eq!(next(&mut reads).await, Ok(whole));
    client.send(GET).await;
    client.read_until("hello").await;
    server.stopped().await;
}

#[tokio::test]
async fn headers_that_began_with_the_end_of_such_a_body_are_completed_and_served() {
    let (app, mut reads) = late(Duration::ZERO);
    let grace = quick()
        .with_idle_grace(ms(100))
        .with_first_request_grace(BOUND);
    let server = Server::start(Kind::Tcp, app, |serve| serve.grace(grace));
    for framing in FRAMINGS {
        let mut clients = Vec::new();
        for split in 1..LAST.len() - "abc".len() {
            let mut client = server.client().await;
            client.send(framing.head()).await;
            client.read_until("hello").await;
            clients.push((client, LAST.split_at(split)));
        }
        // The sweep has found the reader by then.
        sleep(ms(700)).await;
        for (client, (half, _)) in &mut clients {
            let all = framing.packets().concat();
            client.send(&format!("{all}{half}")).await;
        }
        sleep(ms(700)).await;
        for (client, (half, rest)) in &mut clients {
            assert_eq!(next(&mut reads).await.as_deref(), Ok(UPLOAD), "{framing:?}");
            client.send(rest).await;
            let answer = client.read_until("abc").await;
            assert!(answer.contains(" 200 "), "{framing:?} {half:?}: {answer}");
        }
    }
    let (half, rest) = LAST.split_at(9);
    let mut client = server.client().await;
    client.send(FRAMINGS[0].head()).await;
    client.read_until("hello").await;
    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;
    sleep(ms(400)).await;
    client.send(&format!("{UPLOAD}{half}")).await;
    assert_eq!(next(&mut reads).await.as_deref(), Ok(UPLOAD));
    sleep(ms(400)).await;
    client.send(rest).await;
    let answer = client.rest().await.unwrap();
    assert!(
        answer.contains("connection: close") && answer.ends_with("abc"),
        "{answer}"
    );
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn a_body_that_is_read_after_its_response_is_closed_at_the_deadline_and_reported() {
    for framing in FRAMINGS {
        let (app, mut reads) = late(Duration::ZERO);
        let grace = quick()
            .with_idle_grace(ms(100))
            .with_first_request_grace(ms(300))
            .with_drain(ms(1500));
        let server = Server::start(Kind::Tcp, app, |serve| serve.grace(grace));
        let mut client = server.client().await;
        client.send(framing.head()).await;
        client.read_until("hello").await;
        client.send(&framing.packets()[0]).await;
        let report = server.stopped().await;
        assert!(next(&mut reads).await.is_err(), "{framing:?}");
        assert_eq!(
            (report.cut.len(), report.left),
            (1, 0),
            "{framing:?}: {report}"
        );
        assert!(!report.is_clean(), "{framing:?}: {report}");
    }
}

#[tokio::test]
async fn a_body_without_progress_is_closed_in_service_like_an_idle_connection() {
    for park_after in [Duration::ZERO, Duration::MAX] {
        let (app, mut reads) = late(Duration::ZERO);
        let timeouts = Timeouts::default()
            .with_head(ms(300))
            .with_idle(ms(900))
            .with_park_after(park_after);
        let server = Server::start(Kind::Tcp, app, |serve| serve.timeouts(timeouts));
        let mut client = server.client().await;
        client.send(FRAMINGS[0].head()).await;
        client.read_until("hello").await;
        // Each packet is progress.
        trickle(&mut client, &FRAMINGS[0].packets()[..9]).await;
        assert!(next(&mut reads).await.is_err(), "{park_after:?}");
        assert_eq!(client.rest().await.unwrap(), "", "{park_after:?}");
        server.stopped().await;
    }
}

// A body without a reader.

/// The bodies look like requests. `/late` drops its body unread, at a moment of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_a_task_drops_at_any_moment_is_never_served_as_a_request() {
    const MANY: usize = 48;
    let smuggled = Arc::new(AtomicUsize::new(0));
    let count = smuggled.clone();
    let bad = get(move || async move {
        count.fetch_add(1, Relaxed);
        "smuggled"
    });
    let turn = Arc::new(AtomicUsize::new(0));
    let keep = post(move |body: Body| async move {
        let turn = turn.fetch_add(1, Relaxed) as u64;
        tokio::spawn(async move {
            // Around the moments of the sweep.
            let wait = sleep(Duration::from_micros(turn * 7919 % 260_000));
            match turn % 2 {
                0 => wait.await,
                // A reader that waits for the body, and gives up.
                _ => drop(
                    timeout(Duration::from_micros(turn * 7919 % 260_000), body.collect()).await,
                ),
            }
        });
        "hello"
    });
    let app = plain().route("/late", keep).route("/bad", bad);
    let timeouts = Timeouts::default().with_park_after(Duration::ZERO);
    let server = Server::start(Kind::Tcp, app, |serve| serve.timeouts(timeouts));
    let bad = "GET /bad HTTP/1.1\r\nhost: test\r\n\r\n";
    for first in [0, 1, bad.len(), bad.len() + 1] {
        let mut clients = Vec::new();
        for _ in 0..MANY {
            let mut client = server.client().await;
            let body = bad.repeat(4);
            let length = body.len();
            let head =
                format!("POST /late HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n");
            client.send(&format!("{head}{}", &body[..first])).await;
            client.read_until("hello").await;
            clients.push((client, body));
        }
        let rests = clients
            .into_iter()
            .enumerate()
            .map(|(at, (mut client, body))| {
                tokio::spawn(async move {
                    sleep(Duration::from_micros(at as u64 * 6151 % 300_000)).await;
                    let _ = client.0.write_all(&body.as_bytes()[first..]).await;
                    let mut answer = Vec::new();
                    let _ = timeout(ms(600), client.0.read_to_end(&mut answer)).await;
                    assert_eq!(String::from_utf8_lossy(&answer), "");
                })
            });
        for rest in rests.collect::<Vec<_>>() {
            rest.await.unwrap();
        }
    }
    assert_eq!(smuggled.load(Relaxed), 0);
    let report = server.stopped().await;
    assert_eq!(report.requests, 4 * MANY as u64);
}

/// The body is dropped unread, so hyper gives up the connection, and its client has the response all the same.
#[tokio::test]
async fn a_body_that_is_dropped_late_ends_its_connection_without_a_reset() {
    let (drops, dropped) = oneshot::channel::<()>();
    let dropped = Arc::new(std::sync::Mutex::new(Some(dropped)));
    let keep = post(move |body: Body| async move {
        let dropped = dropped.lock().unwrap().take().unwrap();
        tokio::spawn(async move {
            let _ = dropped.await;
            drop(body);
        });
        "hello"
    });
    let timeouts = Timeouts::default().with_park_after(Duration::ZERO);
    let server = Server::start(Kind::Tcp, plain().route("/late", keep), |serve| {
        serve.timeouts(timeouts)
    });
    let mut client = server.client().await;
    client
        .send("POST /late HTTP/1.1\r\nhost: test\r\ncontent-length: 9999\r\n\r\nfirst")
        .await;
    client.read_until("hello").await;
    sleep(ms(400)).await;
    server.until_state(ConnState::Active, 1).await;
    drops.send(()).unwrap();
    client.send("more").await;
    assert_eq!(client.rest().await.unwrap(), "", "FIN, not RST");
    server.stopped().await;
}

/// The handler refuses the upgrade, and keeps the `OnUpgrade` future. hyper keeps its other end for the life of the connection.
#[tokio::test]
async fn a_connection_on_which_an_upgrade_was_offered_keeps_its_server_and_ends_with_fin() {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let refuse = get(move |request: axum::extract::Request| async move {
        tokio::spawn(async move {
            let _ = hyper::upgrade::on(request).await;
            let _ = ended.send(());
        });
        "hello"
    });
    let timeouts = Timeouts::default().with_park_after(Duration::ZERO);
    let app = plain().route("/offer", refuse);
    let server = Server::start(Kind::Tcp, app, |serve| {
        serve.timeouts(timeouts).grace(quick())
    });
    let mut client = server.client().await;
    let offer = "GET /offer HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
    client.send(offer).await;
    client.read_until("hello").await;
    // Longer than some periods of the sweep.
    sleep(ms(400)).await;
    assert!(ends.try_recv().is_err(), "the offer lasts");
    client.send(GET).await;
    client.read_until("hello").await;
    server.stop.fire();
    assert_eq!(client.rest().await.unwrap(), "", "FIN, not RST");
    let ended = timeout(BOUND, ends.recv()).await;
    assert!(ended.unwrap().is_some(), "the offer ends");
    assert!(server.stopped().await.is_clean());
}

// A response that is not flushed.

/// After a held body the order to detach remains. The next response has to be flushed first.
#[tokio::test]
async fn a_response_that_its_client_does_not_read_yet_is_not_dropped_with_its_server() {
    const LARGE: usize = 16 << 20;
    let (app, mut reads) = late(Duration::ZERO);
    let app = app.route("/large", get(|| async { "x".repeat(LARGE) }));
    let timeouts = Timeouts::default().with_park_after(Duration::ZERO);
    let server = Server::start(Kind::Tcp, app, |serve| serve.timeouts(timeouts));
    let mut client = server.client().await;
    client.send(FRAMINGS[0].head()).await;
    client.read_until("hello").await;
    // The server holds the body, so it is probed after each poll.
    server.until_state(ConnState::Active, 1).await;
    client
        .send(&format!(
            "{UPLOAD}GET /large HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
        ))
        .await;
    assert_eq!(next(&mut reads).await.as_deref(), Ok(UPLOAD));
    sleep(ms(400)).await;
    let answer = client.rest().await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.len(), LARGE);
    assert!(server.stopped().await.is_clean());
}

/// The idle grace is counted from the end of the body, and not from its response.
#[tokio::test]
async fn after_a_held_body_a_connection_has_its_whole_idle_grace() {
    let (app, mut reads) = late(Duration::ZERO);
    let grace: Grace = quick()
        .with_idle_grace(ms(1000))
        .with_first_request_grace(ms(400));
    let server = Server::start(Kind::Tcp, app, |serve| serve.grace(grace));
    let mut client = server.client().await;
    client.send(FRAMINGS[0].head()).await;
    client.read_until("hello").await;
    server.stop.fire();
    server.tracker.reached(Phase::Draining).await;
    sleep(ms(1500)).await;
    client.send(UPLOAD).await;
    assert_eq!(next(&mut reads).await.as_deref(), Ok(UPLOAD));
    sleep(ms(100)).await;
    client.send(GET).await;
    let answer = client.rest().await.unwrap();
    assert!(
        answer.contains("connection: close") && answer.ends_with("hello"),
        "{answer}"
    );
    assert!(server.stopped().await.is_clean());
}
