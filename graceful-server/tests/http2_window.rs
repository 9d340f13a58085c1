//! Responses on HTTP/2 that wait behind the client's flow-control window when the server shuts down: they are in flight
//! until their last byte is written, and at the deadline the report names them (law 3).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a client that did not get its bytes fails the test"
)]

mod support;

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, extract::Path, routing::get};
use bytes::Bytes;
use futures_util::stream;
use graceful_server::{Grace, Report};
use http_body_util::StreamBody;
use hyper::{HeaderMap, body::Frame};
use support::{
    Server, app,
    frames::{PREFACE, Peer, RST_STREAM, SETTINGS, Said, WINDOW_UPDATE, body},
    quick, until,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

const CHUNK: usize = 1000;

fn chunks(size: usize) -> impl Iterator<Item = Bytes> {
    (0..size)
        .step_by(CHUNK)
        .map(move |from| Bytes::from(vec![b'x'; CHUNK.min(size - from)]))
}

/// One buffer, many buffers, and many buffers with trailers behind them.
fn sized() -> Router {
    app()
        .route(
            "/whole/{n}",
            get(|Path(n): Path<usize>| async move { "x".repeat(n) }),
        )
        .route(
            "/chunks/{n}",
            get(|Path(n): Path<usize>| async move {
                Body::from_stream(stream::iter(chunks(n).map(Ok::<_, Infallible>)))
            }),
        )
        .route(
            "/trailers/{n}",
            get(|Path(n): Path<usize>| async move {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                let frames = chunks(n)
                    .map(Frame::data)
                    .chain([Frame::trailers(trailers)]);
                Body::new(StreamBody::new(stream::iter(
                    frames.map(Ok::<_, Infallible>),
                )))
            }),
        )
}

/// A client whose streams may send `window` bytes each.
async fn connect(server: &Server, window: u32) -> Peer {
    let mut peer = Peer(TcpStream::connect(server.addr).await.unwrap());
    peer.0.write_all(PREFACE).await.unwrap();
    let settings = [&4_u16.to_be_bytes()[..], &window.to_be_bytes()].concat();
    peer.send(SETTINGS, 0, 0, &settings).await;
    peer
}

async fn open_window(peer: &mut Peer, stream: u32, bytes: u32) {
    peer.send(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
        .await;
}

fn short() -> Grace {
    quick().with_drain(Duration::from_secs(2))
}

/// The paths that the report names, with the number of bytes that it has as sent.
fn aborted(report: &Report) -> Vec<(String, u64)> {
    let each = report.abandoned.iter();
    each.map(|request| (request.path.clone(), request.sent))
        .collect()
}

#[tokio::test]
async fn a_response_that_waits_at_the_deadline_is_named_whatever_its_size() {
    let mut shutdowns = tokio::task::JoinSet::new();
    for (path, window) in [
        ("/whole/1", 0),
        ("/whole/1000", 0),
        ("/whole/20000", 0),
        ("/whole/10000000", 0),
        ("/whole/1000", 999),
        ("/whole/100000", 40_000),
        ("/chunks/1", 0),
        ("/chunks/1000", 0),
        ("/chunks/100000", 0),
        ("/chunks/10000000", 0),
        ("/chunks/100000", 40_500),
        ("/trailers/1", 0),
        ("/trailers/1000", 999),
        ("/trailers/100000", 40_000),
        ("/", 4),
    ] {
        shutdowns.spawn(async move {
            let server = Server::start(sized(), |serve| serve.grace(short()));
            let mut peer = connect(&server, window).await;
            peer.get(1, path).await;
            until("the request", || server.tracker.totals().1 == 1).await;
            sleep(Duration::from_millis(200)).await;
            assert_eq!(server.tracker.in_flight(), 1, "{path} behind {window}");
            let report = server.stopped().await;
            let sent = u64::from(window);
            assert_eq!(
                aborted(&report),
                [(path.to_owned(), sent)],
                "{path}: {report}"
            );
            assert_eq!(
                (report.finished(), report.failed),
                (0, 0),
                "{path}: {report}"
            );
        });
    }
    while let Some(shutdown) = shutdowns.join_next().await {
        shutdown.unwrap();
    }
}

#[tokio::test]
async fn five_hundred_responses_that_wait_are_five_hundred_aborted_requests() {
    let server = Server::start(sized(), |serve| {
        serve.grace(short()).http2(|http2| {
            http2.max_concurrent_streams(500);
        })
    });
    let mut peer = connect(&server, 0).await;
    for stream in 0..500 {
        let path = ["/whole/10", "/chunks/5000", "/trailers/10"][stream as usize % 3];
        peer.get(2 * stream + 1, path).await;
    }
    until("all requests", || server.tracker.totals().1 == 500).await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(server.tracker.in_flight(), 500);
    let report = server.stopped().await;
    assert_eq!(
        (report.abandoned.len(), report.failed),
        (500, 0),
        "{report}"
    );
}

#[tokio::test]
async fn a_response_whose_window_opens_in_the_drain_is_delivered() {
    for path in ["/whole/100000", "/chunks/100000", "/trailers/100000"] {
        let server = Server::start(sized(), |serve| serve);
        let mut peer = connect(&server, 0).await;
        peer.get(1, path).await;
        until("the request", || server.tracker.totals().1 == 1).await;
        server.stop.fire();
        let mut said = peer.told().await;
        peer.pong().await;
        sleep(Duration::from_millis(500)).await;
        open_window(&mut peer, 1, 50_000).await;
        sleep(Duration::from_millis(200)).await;
        assert_eq!(server.tracker.in_flight(), 1, "{path}");
        open_window(&mut peer, 0, 100_000).await;
        open_window(&mut peer, 1, 50_000).await;
        said.extend(peer.rest().await);
        assert_eq!(body(&said, 1).len(), 100_000, "{path}");
        let report = server.stopped().await;
        assert!(
            report.is_clean() && report.finished() == 1,
            "{path}: {report}"
        );
    }
}

/// HEADERS need no window.
#[tokio::test]
async fn a_response_without_a_body_does_not_wait() {
    for path in ["/whole/0", "/chunks/0", "/trailers/0"] {
        let server = Server::start(sized(), |serve| serve);
        let mut peer = connect(&server, 0).await;
        peer.get(1, path).await;
        let said = peer.until(|said| *said == Said::Head(1)).await;
        until("over", || server.tracker.in_flight() == 0).await;
        let report = server.stopped().await;
        assert!(
            report.is_clean() && report.finished() == 1,
            "{said:?}: {report}"
        );
    }
}

/// Neither client gets its response, and that is not the server's doing.
#[tokio::test]
async fn a_response_that_its_client_gives_up_has_failed_and_is_not_waited_for() {
    for path in [
        "/whole/100000",
        "/chunks/100000",
        "/trailers/100",
        "/whole/10000000",
    ] {
        for vanishes in [false, true] {
            let server = Server::start(sized(), |serve| serve);
            let mut peer = connect(&server, 10).await;
            peer.get(1, path).await;
            until("the request", || server.tracker.totals().1 == 1).await;
            sleep(Duration::from_millis(100)).await;
            assert_eq!(server.tracker.in_flight(), 1, "{path}");
            server.stop.fire();
            peer.told().await;
            match vanishes {
                true => drop(peer),
                false => {
                    peer.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes()).await;
                    peer.pong().await;
                    peer.rest().await;
                }
            }
            let report = server.stopped().await;
            assert!(report.is_clean(), "{path}, {vanishes}: {report}");
            assert_eq!(
                (report.failed, report.cutoff),
                (1, Duration::ZERO),
                "{path}: {report}"
            );
        }
    }
}

/// The connection is closed by then.
#[tokio::test]
async fn a_window_that_opens_after_the_deadline_is_too_late() {
    let server = Server::start(sized(), |serve| serve.grace(short()));
    let mut peer = connect(&server, 0).await;
    peer.get(1, "/whole/5").await;
    until("in flight", || server.tracker.in_flight() == 1).await;
    let report = server.stopped().await;
    let _ = peer
        .0
        .write_all(&support::frames::frame(
            WINDOW_UPDATE,
            0,
            1,
            &9_u32.to_be_bytes(),
        ))
        .await;
    assert_eq!(aborted(&report), [("/whole/5".to_owned(), 0)], "{report}");
}

/// A body that fails in the middle ends its request at once, although bytes of it still wait.
#[tokio::test]
async fn a_body_that_fails_behind_bytes_that_wait_has_failed() {
    let broken = || async {
        let first = Ok(Bytes::from_static(b"first"));
        let error = Err(std::io::Error::other("broken"));
        Body::from_stream(stream::iter([first, error]))
    };
    let server = Server::start(app().route("/broken", get(broken)), |serve| serve);
    let mut peer = connect(&server, 3).await;
    peer.get(1, "/broken").await;
    peer.until(|said| *said == Said::Reset(1)).await;
    until("over", || server.tracker.in_flight() == 0).await;
    let report = server.stopped().await;
    assert_eq!((report.failed, report.is_clean()), (1, true), "{report}");
}
