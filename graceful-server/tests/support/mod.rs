//! A server in this process, and clients that see the wire.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

pub(crate) mod frames;

use std::{io, net::SocketAddr, time::Duration};

use axum::{Router, extract::Path, routing::get};
use bytes::Bytes;
use graceful_server::{
    Grace, HandoffListener, Report, Serve, ShutdownSignal, Tracker, serve, signal::Trigger,
};
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// Longer than anything here takes; an outcome, not a measure.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) stop: Trigger,
    signal: ShutdownSignal,
    pub(crate) tracker: Tracker,
    pub(crate) report: JoinHandle<io::Result<Report>>,
}

impl Server {
    pub(crate) fn start(app: Router, configure: impl FnOnce(Serve) -> Serve) -> Self {
        Self::on(
            HandoffListener::bind("127.0.0.1:0").unwrap(),
            app,
            configure,
        )
    }

    pub(crate) fn on(
        listener: HandoffListener,
        app: Router,
        configure: impl FnOnce(Serve) -> Serve,
    ) -> Self {
        let addr = listener.local_addr().as_tcp().unwrap();
        let (stop, signal) = ShutdownSignal::manual();
        let serve = configure(serve(listener, app).stop_on(signal.clone()).grace(quick()));
        let tracker = serve.tracker().clone();
        Self {
            addr,
            stop,
            signal,
            tracker,
            report: tokio::spawn(serve.into_future()),
        }
    }

    /// A connection that has sent `request`.
    pub(crate) async fn connect(&self, request: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.addr).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        client
    }

    pub(crate) async fn stopped(self) -> Report {
        // A second delivery would cut.
        if !self.signal.has_fired() {
            self.stop.fire();
        }
        timeout(BOUND, self.report)
            .await
            .expect("a stop in time")
            .unwrap()
            .unwrap()
    }
}

pub(crate) fn quick() -> Grace {
    Grace::default()
        .with_idle_grace(Duration::from_secs(1))
        .with_idle_spread(Duration::from_millis(50))
        .with_first_request_grace(Duration::from_millis(1500))
}

/// `/` and `/slow/{ms}`.
pub(crate) fn app() -> Router {
    Router::new()
        .route(
            "/",
            get(|| async { "hello" }).post(|body: String| async { body }),
        )
        .route(
            "/slow/{ms}",
            get(|Path(ms): Path<u64>| async move {
                sleep(Duration::from_millis(ms)).await;
                "slow"
            }),
        )
}

/// An HTTP/2 client with prior knowledge.
pub(crate) async fn http2(
    addr: SocketAddr,
) -> hyper::client::conn::http2::SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Writes `request` and reads to the end of file.
pub(crate) async fn exchange(addr: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(request.as_bytes()).await?;
    read_all(&mut stream).await
}

pub(crate) async fn read_all(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    timeout(BOUND, stream.read_to_end(&mut bytes))
        .await
        .expect("an end in time")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub(crate) fn get_close(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
}

pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    timeout(BOUND, async {
        while !done() {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("never: {what}"));
}
