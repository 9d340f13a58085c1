//! A hand-written hyper loop with the three pieces around every connection, and a raw client.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use graceful_layer::Tracker;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};

/// Longer than anything here takes; an outcome, not a measure.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

type Body = BoxBody<Bytes, Infallible>;

/// `/`, `/slow` (1 s), `/stream` (ten chunks over 500 ms), `/hang`, `/endless`, `/panic`; POST bodies are read first.
pub(crate) async fn app(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let _ = request.into_body().collect().await;
    let full = |text: &'static str| Full::new(Bytes::from_static(text.as_bytes())).boxed();
    Ok(Response::new(match path.as_str() {
        "/slow" => {
            sleep(Duration::from_secs(1)).await;
            full("slow\n")
        }
        "/stream" => chunks(10).boxed(),
        "/endless" => chunks(usize::MAX).boxed(),
        "/hang" => std::future::pending().await,
        "/panic" => panic!("asked for"),
        _ => full("ok\n"),
    }))
}

fn chunks(n: usize) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + Sync {
    let frames = futures_stream(n);
    StreamBody::new(frames)
}

fn futures_stream(n: usize) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> {
    futures_util::stream::unfold(0, move |sent| async move {
        (sent < n).then_some(())?;
        sleep(Duration::from_millis(50)).await;
        Some((
            Ok(Frame::data(Bytes::from(format!("chunk {sent}\n")))),
            sent + 1,
        ))
    })
}

/// Serves `app` on every connection, as the example in `Connection`'s documentation does.
pub(crate) async fn serve(tracker: &Tracker) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let tracker = tracker.clone();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let conn = tracker.open(peer);
            let io = TokioIo::new(conn.io(stream));
            let service = conn.service(tower::service_fn(app));
            let builder = auto::Builder::new(TokioExecutor::new());
            let served = builder
                .serve_connection_with_upgrades(io, service)
                .into_owned();
            tokio::spawn(conn.watch(served));
        }
    });
    addr
}

/// Responds with `ok`, and passes each body to a task that reads it after that. Returns the lengths of the bodies.
pub(crate) async fn serve_and_read_later(
    tracker: &Tracker,
) -> (SocketAddr, mpsc::UnboundedReceiver<Option<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let tracker = tracker.clone();
    let (read, reads) = mpsc::unbounded_channel();
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let read = read.clone();
        async move {
            tokio::spawn(async move {
                let whole = request.into_body().collect().await.ok();
                let _ = read.send(whole.map(|all| all.to_bytes().len()));
            });
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok\n"))))
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let conn = tracker.open(peer);
            let io = TokioIo::new(conn.io(stream));
            let service = conn.service(service.clone());
            let served = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
            tokio::spawn(conn.watch(served));
        }
    });
    (addr, reads)
}

/// Serves connections that somebody would carry to a successor, if it were told to.
pub(crate) async fn serve_movable(tracker: &Tracker) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let tracker = tracker.clone();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let conn = tracker.adopt(peer, 2);
            conn.set_movable();
            let io = TokioIo::new(conn.io(stream));
            let service = conn.service(tower::service_fn(app));
            let served = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
            tokio::spawn(conn.watch(served));
        }
    });
    addr
}

/// A client that sees the wire.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self(TcpStream::connect(addr).await.unwrap())
    }

    pub(crate) async fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).await.unwrap();
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn get(&mut self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
            .await;
        self.answer().await
    }

    /// One answer with a content-length; panics if it does not come whole.
    pub(crate) async fn answer(&mut self) -> String {
        let mut bytes = Vec::new();
        timeout(BOUND, async {
            loop {
                let text = String::from_utf8_lossy(&bytes).to_lowercase();
                if let Some(end) = text.find("\r\n\r\n") {
                    let length = text
                        .lines()
                        .find_map(|line| line.strip_prefix("content-length: "))
                        .map_or(0, |n| n.parse::<usize>().unwrap());
                    if bytes.len() >= end + 4 + length {
                        return;
                    }
                }
                let n = self
                    .0
                    .read_buf(&mut bytes)
                    .await
                    .expect("an answer, not a reset");
                assert!(
                    n > 0,
                    "an answer, not its end: {:?}",
                    String::from_utf8_lossy(&bytes)
                );
            }
        })
        .await
        .expect("an answer in time");
        String::from_utf8(bytes).unwrap()
    }

    /// Everything until the end of file; an error if it was a reset.
    pub(crate) async fn rest(&mut self) -> std::io::Result<String> {
        Ok(String::from_utf8_lossy(&self.rest_bytes().await?).into_owned())
    }

    pub(crate) async fn rest_bytes(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        timeout(BOUND, self.0.read_to_end(&mut bytes))
            .await
            .expect("an end in time")?;
        Ok(bytes)
    }
}

/// Waits until `done`, by outcome.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    timeout(BOUND, async {
        while !done() {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("never: {what}"));
}
