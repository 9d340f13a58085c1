//! A make-service that does not resolve, fails or panics: its connection is closed in time, nothing else is touched, nothing is
//! left when the server returns (law 7).

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
    convert::Infallible,
    future::{Future, pending},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use graceful_server::{
    CutReason, Grace, HandoffListener, Report, Serve, ShutdownSignal, Timeouts, Tracker,
    serve_make, signal::Trigger,
};
use http::{Request, Response};
use support::{BOUND, exchange, get_close, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tower::Service;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const MS: Duration = Duration::from_millis(1);

type Hello = Pin<Box<dyn Future<Output = Result<Response<String>, Infallible>> + Send>>;

/// Responds to every request.
#[derive(Clone)]
struct App;

impl Service<Request<hyper::body::Incoming>> for App {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Hello;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<hyper::body::Incoming>) -> Hello {
        Box::pin(async { Ok(Response::new("hello".to_owned())) })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Never,
    NeverReady,
    Fails,
    FailsReady,
    Panics,
    PanicsReady,
    PanicsLater,
    PanicsInDrop,
    /// After so many milliseconds.
    Slow(u64),
}

/// The first connection gets its service this way, all others at once.
#[derive(Clone)]
struct Make {
    way: Way,
    begun: Arc<AtomicUsize>,
    /// Counts the futures that live.
    held: Arc<()>,
    stuck: bool,
}

struct Thorn;

impl Drop for Thorn {
    fn drop(&mut self) {
        panic!("no drop");
    }
}

impl Service<SocketAddr> for Make {
    type Response = App;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<App>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stuck {
            return Poll::Pending;
        }
        if self.begun.load(SeqCst) > 0 {
            return Poll::Ready(Ok(()));
        }
        self.stuck = self.way == Way::NeverReady;
        let ready = match self.way {
            Way::NeverReady => Poll::Pending,
            Way::FailsReady => Poll::Ready(Err(io::Error::other("no service today"))),
            Way::PanicsReady => {
                self.begun.fetch_add(1, SeqCst);
                panic!("no ready")
            }
            _ => return Poll::Ready(Ok(())),
        };
        self.begun.fetch_add(1, SeqCst);
        ready
    }

    fn call(&mut self, _: SocketAddr) -> Self::Future {
        let first = self.begun.fetch_add(1, SeqCst) == 0;
        let (way, held) = (self.way, self.held.clone());
        if first && way == Way::Panics {
            panic!("no call");
        }
        Box::pin(async move {
            let _held = held;
            match way {
                _ if !first => {}
                Way::Never => pending().await,
                Way::PanicsInDrop => {
                    let _thorn = Thorn;
                    pending().await
                }
                Way::Fails => return Err(io::Error::other("no service today")),
                Way::PanicsLater => {
                    sleep(10 * MS).await;
                    panic!("no later");
                }
                Way::Slow(ms) => sleep(Duration::from_millis(ms)).await,
                _ => {}
            }
            Ok(App)
        })
    }
}

struct Rig {
    addr: SocketAddr,
    stop: Trigger,
    tracker: Tracker,
    begun: Arc<AtomicUsize>,
    held: Arc<()>,
    report: JoinHandle<io::Result<Report>>,
}

impl Rig {
    fn start(way: Way, configure: impl FnOnce(Serve) -> Serve) -> Self {
        let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().as_tcp().unwrap();
        let (stop, signal) = ShutdownSignal::manual();
        let (begun, held) = (Arc::default(), Arc::new(()));
        let make = Make {
            way,
            begun: Arc::clone(&begun),
            held: Arc::clone(&held),
            stuck: false,
        };
        let serve = configure(serve_make(listener, make).stop_on(signal).grace(grace()));
        let tracker = serve.tracker().clone();
        let report = tokio::spawn(serve.into_future());
        Self {
            addr,
            stop,
            tracker,
            begun,
            held,
            report,
        }
    }

    /// A first connection, whose service is being made.
    async fn first(&self, request: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(self.addr).await.unwrap();
        client.write_all(request).await.unwrap();
        until("being made", || self.begun.load(SeqCst) == 1).await;
        client
    }

    async fn returned(self) -> Report {
        let report = timeout(BOUND, self.report).await.expect("a return in time");
        let report = report.unwrap().unwrap();
        assert_eq!(report.left, 0, "{report:?}");
        assert_eq!(
            Arc::strong_count(&self.held),
            1,
            "a future or a service lives: {report:?}"
        );
        report
    }
}

fn grace() -> Grace {
    Grace::default()
        .with_first_request_grace(300 * MS)
        .with_drain(2 * BOUND)
}

/// All bytes to the end of the connection, which the server has closed before it returns.
async fn received(mut client: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = timeout(BOUND, client.read_to_end(&mut all)).await;
    let _ = read.expect("the connection is closed");
    all
}

#[tokio::test]
async fn in_a_drain_a_make_service_that_does_not_resolve_has_the_first_request_grace() {
    for way in [Way::Never, Way::NeverReady, Way::PanicsInDrop] {
        for sent in [GET, b"", b"GE"] {
            let rig = Rig::start(way, |serve| serve);
            let client = rig.first(sent).await;
            rig.stop.fire();
            let report = rig.returned().await;
            assert_eq!(received(client).await, b"", "{way:?}");
            assert_eq!(
                report.cutoff,
                Duration::ZERO,
                "long before the deadline: {report:?}"
            );
            let reasons: Vec<_> = report.cut.iter().map(|cut| cut.reason).collect();
            let expected = if sent.is_empty() {
                vec![]
            } else {
                vec![CutReason::NoService]
            };
            assert_eq!(reasons, expected, "{way:?}: {report:?}");
            assert_eq!(report.is_clean(), sent.is_empty(), "{report:?}");
            assert_eq!(report.panics.len(), usize::from(way == Way::PanicsInDrop));
        }
    }
}

#[tokio::test]
async fn the_deadline_and_further_signals_end_a_make_service() {
    for (signals, reason) in [(1, CutReason::Deadline), (3, CutReason::Hurried)] {
        let rig = Rig::start(Way::Never, |serve| {
            let drain = if signals == 1 { 200 * MS } else { 2 * BOUND };
            serve.grace(grace().with_first_request_grace(BOUND).with_drain(drain))
        });
        let client = rig.first(GET).await;
        for _ in 0..signals {
            rig.stop.fire();
        }
        let report = rig.returned().await;
        assert_eq!(received(client).await, b"");
        let reasons: Vec<_> = report.cut.iter().map(|cut| cut.reason).collect();
        assert_eq!(reasons, [reason], "{report:?}");
    }
}

#[tokio::test]
async fn in_normal_service_it_has_the_time_of_a_first_request_and_holds_up_no_other_connection() {
    let timeouts = Timeouts::default().with_first_request(300 * MS);
    let rig = Rig::start(Way::Never, |serve| serve.timeouts(timeouts));
    let client = rig.first(GET).await;
    let answer = exchange(rig.addr, &get_close("/")).await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    assert_eq!(
        received(client).await,
        b"",
        "closed while the server serves"
    );
    until("closed", || rig.tracker.counts().total() == 0).await;
    rig.stop.fire();
    let report = rig.returned().await;
    assert!(report.is_clean() && report.cut.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_make_service_that_fails_or_panics_ends_its_own_connection_only() {
    for (way, panic) in [
        (Way::Fails, None),
        (Way::FailsReady, None),
        (Way::Panics, Some("no call")),
        (Way::PanicsReady, Some("no ready")),
        (Way::PanicsLater, Some("no later")),
    ] {
        for draining in [false, true] {
            let rig = Rig::start(way, |serve| serve.grace(grace().with_lame_duck(500 * MS)));
            if draining {
                rig.stop.fire();
                rig.tracker.reached(graceful_server::Phase::LameDuck).await;
            }
            let client = rig.first(GET).await;
            assert_eq!(received(client).await, b"", "{way:?}");
            let answer = exchange(rig.addr, &get_close("/")).await.unwrap();
            assert!(answer.ends_with("hello"), "{way:?}: {answer}");
            if !draining {
                rig.stop.fire();
            }
            let report = rig.returned().await;
            let panics: Vec<_> = report
                .panics
                .iter()
                .map(|p| (&*p.what, &*p.message))
                .collect();
            let expected: Vec<_> = panic.iter().map(|text| ("make-service", *text)).collect();
            assert_eq!(panics, expected, "{way:?}: {report:?}");
            assert!(report.is_clean(), "{way:?}: {report:?}");
            assert_eq!((report.requests, report.finished()), (1, 1), "{report:?}");
        }
    }
}

/// A slow make-service takes nothing of the time for the first request, nor for the handshake.
#[tokio::test]
async fn a_slow_make_service_is_waited_for_and_its_connection_served() {
    let rig = Rig::start(Way::Slow(200), |serve| {
        serve.timeouts(Timeouts::default().with_first_request(800 * MS))
    });
    let mut client = rig.first(b"").await;
    sleep(700 * MS).await;
    client.write_all(get_close("/").as_bytes()).await.unwrap();
    let answer = String::from_utf8(received(client).await).unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    rig.stop.fire();
    assert!(rig.returned().await.is_clean());
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn over_tls_the_handshake_waits_for_it_and_is_bounded_with_it() {
    let rig = Rig::start(Way::Slow(200), |serve| serve.tls(tls::config()));
    let connecting = tokio::spawn(tls::connect(rig.addr));
    until("being made", || rig.begun.load(SeqCst) == 1).await;
    let mut client = timeout(BOUND, connecting).await.unwrap().unwrap();
    client.write_all(get_close("/").as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(BOUND, client.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    rig.stop.fire();
    assert!(rig.returned().await.is_clean());

    // A client that waits for the server hello has sent something.
    let rig = Rig::start(Way::Never, |serve| serve.tls(tls::config()));
    let client = rig.first(&[22, 3, 1, 0, 200]).await;
    rig.stop.fire();
    let report = rig.returned().await;
    assert_eq!(received(client).await, b"");
    assert_eq!(
        (report.cut.len(), report.cut[0].reason),
        (1, CutReason::NoService),
        "{report:?}"
    );
}
