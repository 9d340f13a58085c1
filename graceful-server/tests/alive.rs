//! Nothing is left alive when a server returns or is dropped: no task, no stream, no descriptor, nothing of the application
//! (law 7). And whoever ends badly is counted down once (law 3).
//!
//! Descriptors belong to the process, so the tests of this file take turns.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test did not get is its failure"
)]

mod support;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::Response,
    routing::{any, get},
};
use futures_util::stream::{self, Stream};
use graceful_server::{
    ConnState, Grace, HandoffListener, Report, Serve, ShutdownSignal, serve, signal::Trigger,
};
use hyper_util::rt::TokioIo;
use support::{BOUND, exchange, frames::Peer, get_close, quick, read_all, until};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};

fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many are open, once what tokio opens once for a whole process is.
fn descriptors() -> usize {
    drop(servers());
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// What the application holds. Slow to go, so that whoever returns before it has gone is seen to.
#[derive(Debug)]
struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(50));
        self.0.fetch_add(1, SeqCst);
    }
}

/// Answers that hold the state while they wait, stream, or are another protocol.
fn app(state: Arc<Held>) -> Router {
    async fn hang(State(state): State<Arc<Held>>) -> &'static str {
        std::future::pending::<()>().await;
        drop(state);
        "never"
    }
    async fn endless(State(state): State<Arc<Held>>) -> Body {
        Body::from_stream(stream::unfold(Held(state.0.clone()), |held| async {
            sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, io::Error>(Bytes::from("more\n")), held))
        }))
    }
    async fn whole(State(state): State<Arc<Held>>) -> Body {
        let held = Held(state.0.clone());
        let mut parts = Box::pin(stream::unfold(0, |n| async move {
            sleep(Duration::from_millis(20)).await;
            (n < 3).then_some((Ok::<_, io::Error>(Bytes::from("part\n")), n + 1))
        }));
        // Held until the body is dropped, not only to its end.
        Body::from_stream(stream::poll_fn(move |cx| {
            let _ = &held;
            parts.as_mut().poll_next(cx)
        }))
    }
    async fn upgrade(State(state): State<Arc<Held>>, mut request: Request) -> Response {
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgraded.await.unwrap());
            let _ = tokio::io::copy(&mut io, &mut tokio::io::sink()).await;
            // The connection is what is waited for: this task lets go of it last.
            drop(state);
            drop(io);
        });
        let head = Response::builder()
            .status(101)
            .header("connection", "upgrade");
        head.header("upgrade", "sink").body(Body::empty()).unwrap()
    }
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/hang", get(hang))
        .route("/endless", get(endless))
        .route("/whole", get(whole))
        .route("/upgrade", any(upgrade))
        .with_state(state)
}

struct Rig {
    addr: SocketAddr,
    serve: Serve,
    stop: Trigger,
    dropped: Arc<AtomicUsize>,
    app: Weak<Held>,
}

impl Rig {
    fn new(grace: Grace) -> Self {
        let dropped = Arc::default();
        let held = Arc::new(Held(Arc::clone(&dropped)));
        let weak = Arc::downgrade(&held);
        let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().as_tcp().unwrap();
        let (stop, signal) = ShutdownSignal::manual();
        let serve = serve(listener, app(held)).stop_on(signal).grace(grace);
        Self {
            addr,
            serve,
            stop,
            dropped,
            app: weak,
        }
    }
}

/// Clients in every state that a connection can be in, on threads of their own. They stay to their end.
fn clients(addr: SocketAddr) -> Runtime {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let get = |path| format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    let upgrade =
        "GET /upgrade HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: sink\r\n\r\n";
    for request in [
        "",
        "GET",
        &get("/"),
        &get("/hang"),
        &get("/endless"),
        &get("/whole"),
        upgrade,
    ] {
        let request = request.to_owned();
        runtime.spawn(async move {
            let mut client = TcpStream::connect(addr).await.unwrap();
            client.write_all(request.as_bytes()).await.unwrap();
            // Cut or in order, whatever comes.
            let _ = read_all(&mut client).await;
        });
    }
    runtime.spawn(async move {
        let mut peer = Peer::connect(addr).await;
        for (stream, path) in [(1, "/"), (3, "/hang"), (5, "/endless"), (7, "/whole")] {
            peer.get(stream, path).await;
        }
        let mut end = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut peer.0, &mut end).await;
    });
    runtime
}

/// How many connections and requests `clients` make.
const CONNECTIONS: usize = 8;
const REQUESTS: u64 = 9;

fn cutting() -> Grace {
    quick()
        .with_drain(Duration::from_millis(500))
        .with_cutoff(Duration::from_secs(4))
}

fn servers() -> [Runtime; 2] {
    let multi = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    [
        Builder::new_current_thread().enable_all().build().unwrap(),
        multi.unwrap(),
    ]
}

#[test]
fn when_a_server_returns_nothing_of_it_is_alive_whatever_it_had_to_cut() {
    let _turn = alone();
    let before = descriptors();
    for runtime in servers() {
        let rig = Rig::new(cutting());
        let tracker = rig.serve.tracker().clone();
        let clients = clients(rig.addr);
        let (report, dropped) = runtime.block_on(async {
            let stop = async {
                until("all clients", || {
                    tracker.totals() == (CONNECTIONS as u64, REQUESTS)
                        && tracker.counts().of(ConnState::Hijacked) == 1
                })
                .await;
                rig.stop.fire();
            };
            let (report, ()) = tokio::join!(rig.serve.into_future(), stop);
            (report.unwrap(), rig.dropped.load(SeqCst))
        });
        assert_eq!(
            (report.left, report.abandoned.len()),
            (0, 4),
            "{report}: {report:?}"
        );
        // Two endless answers, two whole ones, the application itself.
        assert_eq!(
            (dropped, rig.app.strong_count()),
            (5, 0),
            "gone before it returned"
        );
        // A task that is over is still counted for the moment that its thread takes to put it away.
        let metrics = runtime.metrics();
        runtime.block_on(until("no task", || metrics.num_alive_tasks() == 0));
        clients.shutdown_timeout(BOUND);
    }
    assert_eq!(descriptors(), before);
}

/// The last byte of an answer is out before its body is put away; the server waits for that as well.
#[test]
fn what_a_finished_answer_held_is_gone_before_the_server_returns() {
    let _turn = alone();
    let [_, runtime] = servers();
    for http2 in [false, true] {
        let rig = Rig::new(quick());
        let tracker = rig.serve.tracker().clone();
        let addr = rig.addr;
        let client = async move {
            if http2 {
                let mut peer = Peer::connect(addr).await;
                peer.get(1, "/whole").await;
                peer.told().await;
                peer.pong().await;
                peer.rest().await;
            } else {
                let whole = "GET /whole HTTP/1.1\r\nhost: test\r\n\r\n";
                let answer = exchange(addr, whole).await.unwrap();
                assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
            }
        };
        let report = runtime.block_on(async {
            let served = tokio::spawn(rig.serve.into_future());
            let client = tokio::spawn(client);
            until("in flight", || tracker.in_flight() == 1).await;
            rig.stop.fire();
            let report = served.await.unwrap().unwrap();
            assert_eq!(
                (rig.dropped.load(SeqCst), rig.app.strong_count()),
                (2, 0),
                "HTTP/2: {http2}"
            );
            client.await.unwrap();
            report
        });
        assert!(report.is_clean(), "{report}");
    }
}

#[test]
fn when_a_server_is_dropped_all_of_it_goes_at_once() {
    let _turn = alone();
    let before = descriptors();
    for runtime in servers() {
        let rig = Rig::new(Grace::takeover());
        let tracker = rig.serve.tracker().clone();
        let clients = clients(rig.addr);
        let metrics = runtime.metrics();
        runtime.block_on(async {
            tokio::select! {
                _ = rig.serve.into_future() => panic!("nobody stopped it"),
                () = until("all clients", || tracker.totals() == (CONNECTIONS as u64, REQUESTS)) => {}
            }
            until("no task", || metrics.num_alive_tasks() == 0).await;
        });
        assert_eq!((tracker.in_flight(), tracker.counts().total()), (0, 0));
        assert_eq!((rig.dropped.load(SeqCst), rig.app.strong_count()), (5, 0));
        assert!(std::net::TcpStream::connect(rig.addr).is_err(), "closed");
        clients.shutdown_timeout(BOUND);
    }
    assert_eq!(descriptors(), before);
}

#[test]
fn a_thousand_starts_and_stops_leave_not_one_descriptor_behind() {
    let _turn = alone();
    let before = descriptors();
    let [runtime, _] = servers();
    let cycle = || {
        runtime.block_on(async {
            let app = Router::new().route("/", get(|| async { "hello" }));
            let server = support::Server::start(app, |serve| serve);
            let answer = exchange(server.addr, &get_close("/")).await.unwrap();
            assert!(answer.ends_with("hello"));
            assert!(server.stopped().await.is_clean());
        });
    };
    cycle();
    let first = descriptors();
    for _ in 0..1000 {
        cycle();
    }
    assert_eq!(descriptors(), first);
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);
    drop(runtime);
    assert_eq!(descriptors(), before, "nothing keeps the runtime");
}

/// Handlers that panic, bodies that fail, clients that vanish: on both protocols, and none of it is the stop's doing.
#[test]
fn whoever_ends_badly_is_counted_down_once_and_cut_by_nobody() {
    let _turn = alone();
    let [runtime, _] = servers();
    let report: Report = runtime.block_on(async {
        let failing = || async {
            let parts = [
                Ok(Bytes::from("part")),
                Err(io::Error::other("the body failed")),
            ];
            Body::from_stream(stream::iter(parts))
        };
        let app = Router::new()
            .route(
                "/panic",
                get(async || -> &'static str { panic!("asked for") }),
            )
            .route("/fails", get(failing))
            .route("/hang", get(std::future::pending::<&'static str>))
            .route("/upload", axum::routing::post(async |body: Bytes| body));
        let server = support::Server::start(app, |serve| serve);
        let tracker = server.tracker.clone();
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
        for path in ["/panic", "/fails"] {
            let _ = exchange(server.addr, &get(path)).await;
        }
        let half = "POST /upload HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhalf";
        let gone = [
            server.connect(&get("/hang")).await,
            server.connect(half).await,
        ];
        let mut peer = Peer::connect(server.addr).await;
        for (stream, path) in [(1, "/panic"), (3, "/fails"), (5, "/hang")] {
            peer.get(stream, path).await;
        }
        until("seven requests", || tracker.totals() == (5, 7)).await;
        until("those that wait", || tracker.in_flight() == 3).await;
        drop((gone, peer));
        until("none", || {
            tracker.in_flight() == 0 && tracker.counts().total() == 0
        })
        .await;
        timeout(BOUND, server.stopped()).await.unwrap()
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.connections, report.requests), (5, 7));
    assert_eq!((report.drained.total(), report.drained_requests), (0, 0));
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);
}
