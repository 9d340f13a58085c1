//! A peer that continues to send after our end of its connection was closed: in a shutdown it has five times the linger, and
//! is in the report as what it is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here fails the test"
)]

mod support;
#[cfg(feature = "tls")]
#[path = "support/tls.rs"]
mod tls;

use std::time::Duration;

use axum::{Router, routing::post};
use graceful_server::{CutReason, Grace, Phase};
use support::{BOUND, Server, read_all, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

const MS: Duration = Duration::from_millis(1);

/// Responds without a look at the body.
fn early() -> Router {
    Router::new().route("/early", post(|| async { "early" }))
}

/// Its deadline is later than any test takes.
fn grace() -> Grace {
    Grace::default()
        .with_linger(100 * MS)
        .with_drain(10 * BOUND)
}

fn upload() -> String {
    format!(
        "POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        u64::MAX >> 8
    )
}

/// Reads the response, then sends `part` again and again, with `pause` between, until it can no longer.
async fn send_on<S: AsyncReadExt + AsyncWriteExt + Unpin>(
    mut stream: S,
    part: usize,
    pause: Duration,
) {
    stream.write_all(upload().as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"early") {
        let read = timeout(BOUND, stream.read_buf(&mut answer)).await.unwrap();
        assert!(read.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
    }
    let part = vec![b'x'; part];
    while stream.write_all(&part).await.is_ok() {
        sleep(pause).await;
    }
}

fn assert_still_sending(report: &graceful_server::Report) {
    let reasons: Vec<_> = report
        .timed_out
        .iter()
        .map(|closed| closed.reason)
        .collect();
    assert_eq!(reasons, [CutReason::StillSending], "{report:?}");
    assert_eq!(
        report.cutoff,
        Duration::ZERO,
        "long before the deadline: {report:?}"
    );
    assert!(
        report.is_clean() && report.to_string().contains("1 connections timed out"),
        "{report}"
    );
    assert_eq!((report.requests, report.failed), (1, 0), "{report}");
}

/// A flood, which always has something to read, and a trickle, which has nothing most of the time.
#[tokio::test]
async fn in_a_drain_it_has_a_few_lingers() {
    for (part, pause) in [(1 << 20, Duration::ZERO), (1, 20 * MS)] {
        let server = Server::start(early(), |serve| serve.grace(grace().with_lame_duck(MS)));
        server.stop.fire();
        server.tracker.reached(Phase::LameDuck).await;
        let stream = server.connect("").await;
        let client = tokio::spawn(send_on(stream, part, pause));
        assert_still_sending(&server.stopped().await);
        timeout(BOUND, client).await.unwrap().unwrap();
    }
}

/// In normal service it has half a minute, which a shutdown shortens.
#[tokio::test]
async fn a_linger_that_began_in_normal_service_is_shortened() {
    let server = Server::start(early(), |serve| serve.grace(grace()));
    let stream = server.connect("").await;
    let client = tokio::spawn(send_on(stream, 1, 20 * MS));
    until("answered", || {
        server.tracker.totals().1 == 1 && server.tracker.in_flight() == 0
    })
    .await;
    sleep(700 * MS).await;
    assert_eq!(server.tracker.counts().total(), 1, "it is still read from");
    assert_still_sending(&server.stopped().await);
    timeout(BOUND, client).await.unwrap().unwrap();
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn it_is_the_same_over_tls() {
    let server = Server::start(early(), |serve| {
        serve
            .grace(grace().with_lame_duck(500 * MS))
            .tls(tls::config())
    });
    let stream = tls::connect(server.addr).await;
    let client = tokio::spawn(send_on(stream, 1 << 10, MS));
    server.stop.fire();
    assert_still_sending(&server.stopped().await);
    timeout(BOUND, client).await.unwrap().unwrap();
}

/// A peer that sends the rest of its upload and then reads is complete.
#[tokio::test]
async fn a_peer_that_ends_its_upload_in_time_is_not_named() {
    let server = Server::start(early(), |serve| serve.grace(grace()));
    let mut client = server
        .connect("POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
        .await;
    until("answered", || server.tracker.totals().1 == 1).await;
    server.stop.fire();
    for _ in 0..10 {
        client.write_all(&[b'x'; 100]).await.unwrap();
        sleep(20 * MS).await;
    }
    client.shutdown().await.unwrap();
    assert!(read_all(&mut client).await.unwrap().ends_with("early"));
    let report = server.stopped().await;
    assert!(
        report.is_clean() && report.timed_out.is_empty(),
        "{report:?}"
    );
}
