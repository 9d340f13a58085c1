//! The report is true from the client's side. Every response that a client did not receive in full through our doing is in the
//! report, in the calls of `on_abandoned` (the journal), and in [`Report::is_clean`] (the exit status).
//!
//! A row is a state of a connection, over each protocol that has it. Its client records what it received until its connection
//! ended, and that record is compared with the report. Each row runs against each way in which a shutdown ends.

#![cfg(all(feature = "tls", target_os = "linux"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

mod support;
#[path = "support/tls.rs"]
mod tls;

use std::{
    convert::Infallible,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    response::Response,
    routing::{any, get, post},
};
use futures_util::stream::{self, StreamExt};
use graceful_server::{
    Answer, ConnState, CutReason, Grace, HandoffListener, Phase, Report, ShutdownSignal, Timeouts,
    Tracker, serve, signal::Trigger,
};
use http_body_util::BodyExt;
use support::{
    BOUND,
    frames::{PREFACE, Peer, frame},
    until,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

const MS: Duration = Duration::from_millis(1);
/// More than the buffers of two sockets hold.
const LARGE: usize = 32 << 20;

/// `/`, `/hang`, `/part` (half of a response), `/large`, `/echo`, `/later` (a task reads the body after the
/// response), `/upgrade`.
fn app() -> Router {
    async fn part() -> Body {
        let part = stream::iter([Ok::<_, Infallible>(Bytes::from("part\n"))]);
        Body::from_stream(part.chain(stream::pending()))
    }
    async fn large() -> Vec<u8> {
        vec![b'x'; LARGE]
    }
    async fn later(request: Request) -> &'static str {
        tokio::spawn(request.into_body().collect());
        "later"
    }
    async fn upgrade(mut request: Request) -> Response {
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = hyper_util::rt::TokioIo::new(upgraded.await.unwrap());
            let _ = tokio::io::copy(&mut io, &mut tokio::io::sink()).await;
        });
        let head = Response::builder()
            .status(101)
            .header("connection", "upgrade");
        head.header("upgrade", "sink").body(Body::empty()).unwrap()
    }
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/hang", get(std::future::pending::<&'static str>))
        .route("/part", get(part))
        .route("/large", get(large))
        .route("/echo", post(|body: String| async { body }))
        .route("/later", post(later))
        .route("/upgrade", any(upgrade))
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Http10,
    Http11,
    Tls,
    Unix,
    Http2,
    Http2Tls,
    Http2Unix,
}

const HTTP1: [Over; 4] = [Over::Http10, Over::Http11, Over::Tls, Over::Unix];
const HTTP2: [Over; 3] = [Over::Http2, Over::Http2Tls, Over::Http2Unix];

impl Over {
    fn is_http2(self) -> bool {
        HTTP2.contains(&self)
    }

    /// The end of a stream on a Unix socket looks the same whether the server closed or reset it.
    fn shows_a_reset(self) -> bool {
        !matches!(self, Self::Unix | Self::Http2Unix)
    }
}

/// How the shutdown ends for those who are not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Deadline,
    /// Without a lame duck the second signal begins the cutoff.
    SecondSignal,
    ThirdSignal,
    Command,
    /// Not by a cutoff: each grace is over long before the deadline.
    Graces,
}

const ENDS: [End; 4] = [
    End::Deadline,
    End::SecondSignal,
    End::ThirdSignal,
    End::Command,
];

/// The client's side of a state.
#[derive(Clone, Debug)]
struct State {
    name: &'static str,
    /// Sent at first, and completed by a response before anything else happens.
    first: bool,
    /// Sent then. `{v}` is the version.
    sends: String,
    reached: Reached,
    /// Whether the client reads before the shutdown is over.
    reads: bool,
    /// How the client sees it, when all is over.
    sees: Sees,
}

/// When the server is in the state.
#[derive(Clone, Copy, Debug)]
enum Reached {
    Is(ConnState),
    InFlight(usize),
    /// Nothing shows it: after a tenth of a second.
    Unseen,
}

/// What a client has at the end of its connection for what it has sent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sees {
    /// It sent nothing, or has a complete response to everything.
    NothingLost,
    Refused,
    Truncated,
    /// It sent a part of a request, or uses the connection for another protocol.
    Cut,
}

impl State {
    fn new(name: &'static str, sends: &str, reached: Reached, sees: Sees) -> Self {
        Self {
            name,
            first: false,
            sends: sends.to_owned(),
            reached,
            reads: true,
            sees,
        }
    }

    fn second(self) -> Self {
        Self {
            first: true,
            ..self
        }
    }

    fn reads_nothing(self) -> Self {
        Self {
            reads: false,
            ..self
        }
    }
}

fn http1_states() -> Vec<State> {
    use Reached::{InFlight, Is, Unseen};
    use Sees::{Cut, NothingLost, Refused, Truncated};
    let get =
        |path: &str| format!("GET {path} HTTP/{{v}}\r\nhost: x\r\nconnection: keep-alive\r\n\r\n");
    let upload =
        |path: &str| format!("POST {path} HTTP/{{v}}\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf");
    let idle = Is(ConnState::Idle);
    vec![
        State::new("new and silent", "", Is(ConnState::New), NothingLost),
        State::new("half a header", "GET / HT", Is(ConnState::Active), Cut),
        State::new(
            "half a second header",
            "GET / HT",
            Is(ConnState::Active),
            Cut,
        )
        .second(),
        State::new("in the handler", &get("/hang"), InFlight(1), Refused),
        State::new(
            "in the handler, kept alive",
            &get("/hang"),
            InFlight(1),
            Refused,
        )
        .second(),
        State::new("response half sent", &get("/part"), InFlight(1), Truncated),
        State::new(
            "response waits for its reader",
            &get("/large"),
            Is(ConnState::Active),
            Truncated,
        )
        .reads_nothing(),
        State::new("upload half done", &upload("/echo"), InFlight(1), Refused),
        State::new("idle", "", idle, NothingLost).second(),
        State::new("parked", "", Unseen, NothingLost).second(),
        State::new("idle with an empty line", "\r\n", Unseen, NothingLost).second(),
    ]
}

fn http11_states() -> Vec<State> {
    let upgrade =
        "GET /upgrade HTTP/{v}\r\nhost: x\r\nconnection: upgrade\r\nupgrade: sink\r\n\r\n";
    let two = "GET /hang HTTP/{v}\r\nhost: x\r\n\r\nGET / HTTP/{v}\r\nhost: x\r\n\r\n";
    let later = "POST /later HTTP/{v}\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf";
    vec![
        State::new(
            "upload read after its response",
            later,
            Reached::Is(ConnState::Active),
            Sees::Cut,
        ),
        State::new(
            "upgraded",
            upgrade,
            Reached::Is(ConnState::Hijacked),
            Sees::Cut,
        ),
        // `Connection: close` in the response to the first means that the second was not processed (RFC 9112 §9.6).
        State::new("pipelined", two, Reached::InFlight(1), Sees::Refused),
    ]
}

fn header(stream: u32, path: &str) -> Vec<u8> {
    Peer::request(stream, path)
}

/// The bytes of HTTP/2 are Latin-1 here: one character a byte.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn http2_states() -> Vec<State> {
    use Reached::{InFlight, Is, Unseen};
    use Sees::{Cut, NothingLost, Refused, Truncated};
    let preface = [PREFACE, &frame(4, 0, 0, b""), &frame(4, 1, 0, b"")].concat();
    let with = |more: &[u8]| latin(&[&preface, more].concat());
    // SETTINGS_INITIAL_WINDOW_SIZE of zero: no byte of a body may be sent.
    let closed = [
        PREFACE,
        &frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]),
        &header(1, "/"),
    ]
    .concat();
    let hang = header(1, "/hang");
    let half = &hang[..hang.len() - 3];
    // A POST with half of its body: HEADERS without END_STREAM.
    let mut upload = header(1, "/echo");
    (upload[4], upload[9]) = (4, 0x83);
    upload.extend(frame(0, 0, 1, b"half"));
    vec![
        State::new("new and silent", "", Is(ConnState::New), NothingLost),
        State::new(
            "half a preface",
            &latin(&PREFACE[..10]),
            Is(ConnState::Active),
            Cut,
        ),
        State::new("no stream yet", &with(b""), Unseen, NothingLost),
        State::new("half a HEADERS frame", &with(half), Unseen, Cut),
        State::new("in the handler", &with(&hang), InFlight(1), Refused),
        State::new(
            "response half sent",
            &with(&header(1, "/part")),
            InFlight(1),
            Truncated,
        ),
        State::new("upload half done", &with(&upload), InFlight(1), Refused),
        State::new(
            "idle",
            &with(&header(1, "/")),
            Is(ConnState::Idle),
            NothingLost,
        ),
        State::new(
            "response waits for its window",
            &latin(&closed),
            InFlight(1),
            Truncated,
        ),
        State::new(
            "large response waits for its window",
            &with(&header(1, "/large")),
            InFlight(1),
            Truncated,
        ),
    ]
}

struct Rig {
    addr: String,
    tracker: Tracker,
    stop: Trigger,
    journal: Arc<AtomicUsize>,
    report: JoinHandle<io::Result<Report>>,
    path: Option<PathBuf>,
}

impl Rig {
    fn start(over: Over, end: End) -> Self {
        let path = (!over.shows_a_reset()).then(|| {
            static NUMBER: AtomicUsize = AtomicUsize::new(0);
            let number = NUMBER.fetch_add(1, SeqCst);
            let name = format!("graceful-report-{}-{number}", std::process::id());
            std::env::temp_dir().join(name)
        });
        let addr = path.as_ref().map_or_else(
            || "127.0.0.1:0".to_owned(),
            |path| format!("unix:{}", path.display()),
        );
        let listener = HandoffListener::bind(addr.as_str()).unwrap();
        let addr = listener.local_addr().to_string();
        let (stop, signal) = ShutdownSignal::manual();
        let drain = match end {
            End::Deadline => 500 * MS,
            _ => 2 * BOUND,
        };
        // Otherwise every client has its chance until the cutoff.
        let chance = if end == End::Graces {
            200 * MS
        } else {
            2 * BOUND
        };
        let grace = Grace::default()
            .with_drain(drain)
            .with_idle_grace(chance)
            .with_first_request_grace(chance)
            .with_cutoff(600 * MS);
        let mut serve = serve(listener, app())
            .stop_on(signal)
            .grace(grace)
            .timeouts(Timeouts::default().with_park_after(50 * MS));
        if matches!(over, Over::Tls | Over::Http2Tls) {
            serve = serve.tls(tls::config());
        }
        let tracker = serve.tracker().clone();
        let journal = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&journal);
        tracker.on_abandoned(move |_| _ = counter.fetch_add(1, SeqCst));
        let report = tokio::spawn(serve.into_future());
        Self {
            addr,
            tracker,
            stop,
            journal,
            report,
            path,
        }
    }

    async fn connect(&self, over: Over) -> Box<dyn Stream> {
        let alpn = match over {
            Over::Tls => "http/1.1",
            Over::Http2Tls => "h2",
            Over::Unix | Over::Http2Unix => {
                return Box::new(
                    UnixStream::connect(self.path.as_ref().unwrap())
                        .await
                        .unwrap(),
                );
            }
            _ => return Box::new(TcpStream::connect(&self.addr).await.unwrap()),
        };
        let stream = TcpStream::connect(&self.addr).await.unwrap();
        Box::new(tls::secure(stream, &tls::client(&[alpn])).await.unwrap())
    }

    async fn reached(&self, name: &str, reached: Reached) {
        match reached {
            Reached::Is(state) => until(name, || self.tracker.counts().of(state) == 1).await,
            Reached::InFlight(n) => until(name, || self.tracker.in_flight() == n).await,
            Reached::Unseen => {}
        }
        sleep(100 * MS).await;
    }

    async fn end(self, end: End) -> (Report, usize) {
        self.stop.fire();
        self.tracker.reached(Phase::Draining).await;
        match end {
            End::Deadline | End::Graces => {}
            End::SecondSignal => self.stop.fire(),
            End::ThirdSignal => [(), ()].iter().for_each(|()| self.stop.fire()),
            End::Command => assert!(self.tracker.cutoff()),
        }
        let report = timeout(2 * BOUND, self.report)
            .await
            .expect("an end in time");
        if let Some(path) = self.path {
            let _ = std::fs::remove_file(path);
        }
        (report.unwrap().unwrap(), self.journal.load(SeqCst))
    }
}

/// Everything that a client received, and whether its connection was reset.
struct Received {
    bytes: Vec<u8>,
    reset: bool,
}

async fn receive(mut stream: impl Stream) -> Received {
    let mut bytes = Vec::new();
    let read = timeout(BOUND, stream.read_to_end(&mut bytes)).await;
    let read = read.expect("the connection ends");
    // TLS without its close_notify is as good as a reset.
    Received {
        bytes,
        reset: read.is_err(),
    }
}

/// How much of a response is in `bytes`: its status, and whether it is complete.
fn http1_response(bytes: &[u8], over: Over, reset: bool) -> Option<(u16, bool)> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let complete = match length {
        Some(length) => body.len() >= length.parse().unwrap(),
        None if head.contains("chunked") => body.ends_with("0\r\n\r\n"),
        // To the end of the stream, which a reset is not. A Unix socket does not show it.
        None => !reset && over.shows_a_reset(),
    };
    Some((status, complete))
}

fn http2_response(mut bytes: &[u8]) -> Option<(u16, bool)> {
    let mut response = None;
    while bytes.len() >= 9 {
        let length =
            usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        let (kind, flags) = (bytes[3], bytes[4]);
        let Some(payload) = bytes.get(9..9 + length) else {
            break;
        };
        match kind {
            // :status 200 is one byte of the static table.
            1 => response = Some((if payload[0] == 0x88 { 200 } else { 503 }, flags & 1 != 0)),
            0 => response = response.map(|(status, whole)| (status, whole || flags & 1 != 0)),
            _ => {}
        }
        bytes = &bytes[9 + length..];
    }
    response
}

/// The view of the client.
fn sees(state: &State, over: Over, received: &Received) -> Sees {
    let response = match over.is_http2() {
        true => http2_response(&received.bytes),
        false => http1_response(&received.bytes, over, received.reset),
    };
    match response {
        Some((101, _)) => Sees::Cut,
        Some((503, _)) => Sees::Refused,
        // Its upload was not over.
        Some((_, true)) if state.sees == Sees::Cut => Sees::Cut,
        Some((_, true)) => Sees::NothingLost,
        Some((_, false)) => Sees::Truncated,
        None if state.sees == Sees::NothingLost => Sees::NothingLost,
        None => Sees::Cut,
    }
}

/// The record of the client against the report. Returns what is wrong.
fn compare(saw: Sees, report: &Report, journal: usize) -> Result<(), String> {
    let answers: Vec<_> = report
        .abandoned
        .iter()
        .map(|request| request.answer)
        .collect();
    let unsent = report.cut.iter().filter(|cut| cut.unsent).count();
    let wrong = match saw {
        Sees::NothingLost if !report.is_clean() || !answers.is_empty() => "nothing was lost",
        Sees::NothingLost => return Ok(()),
        _ if report.is_clean() => "something was lost",
        Sees::Refused if answers != [Answer::Refused] => "it got a refusal",
        // The handler's part was over, or it was not.
        Sees::Truncated if answers != [Answer::Truncated] && (unsent, answers.len()) != (1, 0) => {
            "it got a part"
        }
        Sees::Cut if report.cut.len() != 1 || !answers.is_empty() => "its connection was closed",
        _ if journal != answers.len() => "the journal has other lines",
        _ if report.failed > 0 => "it did not go away",
        _ => return Ok(()),
    };
    Err(wrong.to_owned())
}

async fn row(state: State, over: Over, end: End) -> Result<(), String> {
    let case = format!("{} over {over:?}, ended by {end:?}", state.name);
    let rig = Rig::start(over, end);
    let mut stream = rig.connect(over).await;
    let version = if over == Over::Http10 { "1.0" } else { "1.1" };
    if state.first {
        let first = format!("GET / HTTP/{version}\r\nhost: x\r\nconnection: keep-alive\r\n\r\n");
        stream.write_all(first.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{case}");
        }
    }
    let sends: Vec<u8> = state
        .sends
        .replace("{v}", version)
        .chars()
        .map(|char| char as u8)
        .collect();
    stream.write_all(&sends).await.unwrap();
    rig.reached(&case, state.reached).await;
    let requests = rig.tracker.totals().1;
    let (received, (report, journal)) = if state.reads {
        tokio::join!(receive(stream), rig.end(end))
    } else {
        let ended = rig.end(end).await;
        (receive(stream).await, ended)
    };
    let saw = sees(&state, over, &received);
    let about = || {
        format!(
            "{case}: the client saw {saw:?}, reset {}, and the report is {report:?}",
            received.reset
        )
    };
    if saw != state.sees {
        return Err(format!("{} instead of {:?}", about(), state.sees));
    }
    // A part of a response that ends like a whole one is a lie, where a protocol can show it.
    if saw == Sees::Truncated && over == Over::Http10 && !received.reset {
        return Err(about());
    }
    let finished = requests - u64::from(matches!(saw, Sees::Refused | Sees::Truncated));
    if report.finished() != finished {
        return Err(format!(
            "{}: {} requests finished, {finished} by the client",
            about(),
            report.finished()
        ));
    }
    compare(saw, &report, journal).map_err(|wrong| format!("{}: {wrong}", about()))
}

async fn all(rows: Vec<(State, Over, End)>) {
    let mut wrong = Vec::new();
    // A few at a time, because each has an end by the clock.
    let mut running: JoinSet<Result<(), String>> = JoinSet::new();
    for (state, over, end) in rows {
        if running.len() >= 24 {
            wrong.extend(running.join_next().await.unwrap().unwrap().err());
        }
        running.spawn(row(state, over, end));
    }
    wrong.extend(running.join_all().await.into_iter().filter_map(Result::err));
    assert!(
        wrong.is_empty(),
        "{} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn rows(states: Vec<State>, overs: &[Over]) -> Vec<(State, Over, End)> {
    let mut rows = Vec::new();
    for state in states {
        for over in overs {
            rows.extend(ENDS.map(|end| (state.clone(), *over, end)));
        }
    }
    rows
}

/// A client that does not complete what it began, in the time that it has for that, is in the report as what it is. It does not
/// make the report unclean.
#[tokio::test]
async fn clients_that_used_up_their_time_are_named_and_leave_the_report_clean() {
    let mut wrong = Vec::new();
    let parts = |states: Vec<State>| {
        states.into_iter().filter(|state| {
            matches!(state.sees, Sees::Cut | Sees::NothingLost)
                && !matches!(state.reached, Reached::Is(ConnState::Hijacked))
        })
    };
    let http1 = parts(http1_states()).map(|state| (state, Over::Http11));
    let http2 = parts(http2_states()).map(|state| (state, Over::Http2));
    for (state, over) in http1.chain(http2) {
        let rig = Rig::start(over, End::Graces);
        let mut stream = rig.connect(over).await;
        if state.first {
            stream
                .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                .await
                .unwrap();
            stream.read_u8().await.unwrap();
            until("idle", || rig.tracker.counts().of(ConnState::Idle) == 1).await;
        }
        let sends: Vec<u8> = state.sends.chars().map(|char| char as u8).collect();
        stream.write_all(&sends).await.unwrap();
        rig.reached(state.name, state.reached).await;
        let (_, (report, journal)) = tokio::join!(receive(stream), rig.end(End::Graces));
        let reasons: Vec<_> = report
            .timed_out
            .iter()
            .map(|closed| closed.reason)
            .collect();
        let expected = match state.sees {
            Sees::Cut => vec![CutReason::IncompleteHeader],
            _ => vec![],
        };
        if reasons != expected
            || !report.is_clean()
            || report.cutoff > Duration::ZERO
            || journal > 0
        {
            wrong.push(format!("{} over {over:?}: {report:?}", state.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same for a TLS handshake, which the cutoff or its time may end.
#[tokio::test]
async fn an_incomplete_handshake_is_named() {
    for end in [End::Graces, End::Deadline, End::Command] {
        let rig = Rig::start(Over::Tls, end);
        let mut stream = TcpStream::connect(&rig.addr).await.unwrap();
        stream.write_all(&[22, 3, 1]).await.unwrap();
        rig.reached("handshaking", Reached::Is(ConnState::Handshaking))
            .await;
        let (_, (report, _)) = tokio::join!(receive(stream), rig.end(end));
        let reason = |closed: &[graceful_server::Cut]| {
            closed
                .iter()
                .map(|closed| closed.reason)
                .collect::<Vec<_>>()
        };
        let expected = match end {
            End::Graces => (vec![], vec![CutReason::IncompleteHandshake]),
            End::Deadline => (vec![CutReason::Deadline], vec![]),
            _ => (vec![CutReason::Hurried], vec![]),
        };
        assert_eq!(
            (reason(&report.cut), reason(&report.timed_out)),
            expected,
            "{end:?}: {report:?}"
        );
        assert_eq!(report.is_clean(), end == End::Graces);
    }
}

#[tokio::test]
async fn over_http1_the_report_has_all_that_clients_lost_and_nothing_else() {
    all(rows(http1_states(), &HTTP1)).await;
}

#[tokio::test]
async fn pipelined_and_upgraded_connections_are_in_the_report() {
    all(rows(http11_states(), &HTTP1[1..])).await;
}

#[tokio::test]
async fn over_http2_the_report_has_all_that_clients_lost_and_nothing_else() {
    all(rows(http2_states(), &HTTP2)).await;
}
