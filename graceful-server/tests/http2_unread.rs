//! HTTP/2 clients that no longer read when the server stops: hyper can neither write its GOAWAY nor read on, and the
//! connection is closed all the same as soon as nothing is in flight (laws 2 and 7).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test did not get is its failure"
)]

mod support;

use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use futures_util::stream;
use graceful_server::CutReason;
use support::{
    Server, app,
    frames::{PREFACE, Peer, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame},
    quick, until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    time::sleep,
};

/// More than the kernel takes for a client that does not read.
fn endless() -> Router {
    let chunk = || Ok::<_, std::io::Error>(Bytes::from(vec![7; 65_536]));
    let body = move || async move { Body::from_stream(stream::repeat_with(chunk)) };
    app().route("/endless", get(body))
}

/// A client with large windows and a small receive buffer.
async fn connect(server: &Server) -> Peer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut peer = Peer(socket.connect(server.addr).await.unwrap());
    peer.0.write_all(PREFACE).await.unwrap();
    let window = [&4_u16.to_be_bytes()[..], &(u32::MAX >> 1).to_be_bytes()].concat();
    peer.send(SETTINGS, 0, 0, &window).await;
    peer.send(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes())
        .await;
    peer
}

async fn reset(peer: &mut Peer, stream: u32) {
    peer.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes()).await;
}

#[tokio::test]
async fn a_client_that_reset_its_only_stream_and_does_not_read_holds_the_drain_for_a_moment() {
    let server = Server::start(endless(), |serve| serve);
    let mut peer = connect(&server).await;
    peer.get(1, "/endless").await;
    sleep(Duration::from_millis(500)).await;
    reset(&mut peer, 1).await;
    until("reset", || server.tracker.in_flight() == 0).await;
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(
        (report.cutoff, report.failed),
        (Duration::ZERO, 1),
        "{report}"
    );
    let closed = report.timed_out.iter();
    let reasons: Vec<_> = closed.map(|closed| closed.reason).collect();
    assert_eq!(reasons, [CutReason::NotReading], "{report:?}");
}

/// Its bytes may be a request, and cannot be read: they are waited for a few seconds, and not for the whole drain.
#[tokio::test]
async fn a_client_that_does_not_read_and_sends_pings_all_the_time_holds_the_drain_for_seconds() {
    let server = Server::start(endless(), |serve| serve);
    let mut peer = connect(&server).await;
    peer.get(1, "/endless").await;
    sleep(Duration::from_millis(500)).await;
    reset(&mut peer, 1).await;
    until("reset", || server.tracker.in_flight() == 0).await;
    let (_unread, mut write) = peer.0.into_split();
    let ping = frame(6, 0, 0, b"01234567");
    let pings = tokio::spawn(async move {
        while write.write_all(&ping).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.cutoff, Duration::ZERO, "{report}");
    pings.await.unwrap();
}

/// A client that pauses for longer than that while it reads a response has all of it in the end.
#[tokio::test]
async fn a_response_that_is_not_read_for_seconds_is_waited_for() {
    let all: usize = 8 << 20;
    let body = move || async move { vec![7; all] };
    let server = Server::start(app().route("/large", get(body)), |serve| serve);
    let mut peer = connect(&server).await;
    peer.get(1, "/large").await;
    until("in flight", || server.tracker.in_flight() == 1).await;
    sleep(Duration::from_millis(300)).await;
    server.stop.fire();
    sleep(Duration::from_secs(4)).await;
    let mut bytes = Vec::new();
    peer.0.read_to_end(&mut bytes).await.unwrap();
    assert!(bytes.len() > all, "{} of {all}", bytes.len());
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_response_is_closed_at_the_deadline_and_its_request_is_named()
 {
    let grace = quick().with_drain(Duration::from_secs(3));
    let server = Server::start(endless(), |serve| serve.grace(grace));
    let mut peer = connect(&server).await;
    peer.get(1, "/endless").await;
    sleep(Duration::from_millis(500)).await;
    let report = server.stopped().await;
    let named: Vec<_> = report
        .abandoned
        .iter()
        .map(|request| request.path.as_str())
        .collect();
    assert_eq!(named, ["/endless"], "{report}");
}
