//! HTTP/2 clients in every state a stop can find them in: what they are told, in which order, and that none of them holds
//! the exit (laws 2 and 7).
//!
//! The peers are frames written by hand. What needs no misbehaviour is tested with hyper's client in `serve.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test did not get is its failure"
)]

mod support;

use std::time::{Duration, Instant};

use graceful_server::Protocol;
use support::{
    BOUND, Server, app,
    frames::{ALL, PAYLOAD, PREFACE, Peer, Said, body, going_away},
    quick, read_all, until,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

#[tokio::test]
async fn goaway_for_all_then_streams_that_race_it_then_at_the_pong_the_last_one() {
    // Our own timer would send it after a second: the fastest of a few rounds does not wait for that.
    let mut fastest = BOUND;
    for _ in 0..5 {
        let server = Server::start(app(), |serve| serve);
        let mut peer = Peer::connect(server.addr).await;
        peer.get(1, "/slow/200").await;
        until("in flight", || server.tracker.in_flight() == 1).await;
        server.stop.fire();
        let mut said = peer.told().await;
        peer.get(3, "/slow/300").await;
        until("the one that raced", || server.tracker.totals().1 == 2).await;
        let pong = Instant::now();
        peer.pong().await;
        said.extend(peer.until(|said| *said == going_away(3)).await);
        fastest = fastest.min(pong.elapsed());
        // After the last GOAWAY: ignored, and no error of the connection.
        peer.get(5, "/").await;
        said.extend(peer.rest().await);
        assert_eq!(body(&said, 1), b"slow", "{said:?}");
        assert_eq!(body(&said, 3), b"slow", "{said:?}");
        assert!(
            !said.contains(&Said::Head(5)) && !said.contains(&Said::Reset(5)),
            "{said:?}"
        );
        let told: Vec<_> = said
            .iter()
            .filter(|said| matches!(said, Said::GoAway { .. }))
            .collect();
        assert_eq!(
            told,
            [&going_away(ALL), &going_away(3)],
            "ids never go up, and no more than two"
        );
        let report = server.stopped().await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.requests, 2);
    }
    assert!(
        fastest < Duration::from_millis(800),
        "waits for the timer: {fastest:?}"
    );
}

#[tokio::test]
async fn without_a_pong_the_last_goaway_comes_by_our_own_timer_and_what_raced_it_is_answered() {
    let server = Server::start(app(), |serve| serve);
    let mut peer = Peer::connect(server.addr).await;
    peer.get(1, "/").await;
    until("idle", || {
        server.tracker.totals().1 == 1 && server.tracker.in_flight() == 0
    })
    .await;
    server.stop.fire();
    let mut said = peer.told().await;
    let told = Instant::now();
    peer.get(3, "/").await;
    said.extend(peer.rest().await);
    assert!(
        told.elapsed() >= Duration::from_millis(900),
        "the peer has its second"
    );
    assert_eq!(body(&said, 3), b"hello", "{said:?}");
    assert_eq!(said.last(), Some(&going_away(3)), "{said:?}");
    assert!(server.stopped().await.is_clean());
}

/// Such as those to the keep-alive PINGs that hyper sends if it is told to, and one that nobody asked for.
#[tokio::test]
async fn pongs_from_before_the_stop_are_not_taken_for_the_answer_to_its_ping() {
    for payload in [b"01234567", PAYLOAD] {
        let server = Server::start(app(), |serve| serve);
        let mut peer = Peer::connect(server.addr).await;
        peer.get(1, "/").await;
        peer.pong_with(payload).await;
        peer.get(3, "/").await;
        until("idle", || {
            server.tracker.totals().1 == 2 && server.tracker.in_flight() == 0
        })
        .await;
        server.stop.fire();
        let said = peer.rest().await;
        assert_eq!(said.last(), Some(&going_away(3)), "{said:?}");
        let report = server.stopped().await;
        assert_eq!(report.cutoff, Duration::ZERO, "{report}");
    }
}

#[tokio::test]
async fn half_a_frame_may_finish_and_does_not_hold_the_drain_if_it_never_does() {
    for (half, finishes) in [(5, true), (12, true), (5, false), (12, false)] {
        let server = Server::start(app(), |serve| serve);
        let mut peer = Peer::connect(server.addr).await;
        peer.get(1, "/").await;
        until("idle", || {
            server.tracker.totals().1 == 1 && server.tracker.in_flight() == 0
        })
        .await;
        let request = Peer::request(3, "/");
        peer.0.write_all(&request[..half]).await.unwrap();
        server.stop.fire();
        if finishes {
            peer.told().await;
            peer.0.write_all(&request[half..]).await.unwrap();
            assert_eq!(body(&peer.rest().await, 3), b"hello", "after {half} bytes");
        }
        let report = server.stopped().await;
        assert!(report.is_clean(), "{half} bytes: {report}");
        assert_eq!(report.cutoff, Duration::ZERO, "{half} bytes: {report}");
    }
}

/// Neither what has not been said yet, nor what will never be said, holds the exit.
#[tokio::test]
async fn peers_that_never_finish_their_preface_are_closed_by_their_grace_and_not_by_the_deadline() {
    for protocol in [Protocol::Auto, Protocol::Http2] {
        let server = Server::start(app(), |serve| serve.protocol(protocol));
        let mut peers = Vec::new();
        let silent = &PREFACE[..0];
        for bytes in [silent, &PREFACE[..1], &PREFACE[..10], PREFACE] {
            let mut peer = TcpStream::connect(server.addr).await.unwrap();
            peer.write_all(bytes).await.unwrap();
            peers.push(peer);
        }
        until("accepted", || {
            server.tracker.counts().total() == peers.len()
        })
        .await;
        sleep(Duration::from_millis(100)).await;
        let report = server.stopped().await;
        assert!(report.is_clean(), "{protocol:?}: {report}");
        assert_eq!(
            (report.cutoff, report.left),
            (Duration::ZERO, 0),
            "{protocol:?}: {report}"
        );
        for peer in &mut peers {
            let _ = read_all(peer).await;
        }
    }
}

/// A peer that goes on sending must still get to read the end: closing over unread bytes would reset it.
#[tokio::test]
async fn the_last_frames_reach_a_peer_that_goes_on_sending() {
    let grace = quick().with_linger(Duration::from_secs(5));
    let server = Server::start(app(), |serve| serve.grace(grace));
    let mut peer = Peer::connect(server.addr).await;
    peer.get(1, "/slow/300").await;
    until("in flight", || server.tracker.in_flight() == 1).await;
    server.stop.fire();
    // Sends, does not read, and knows of nothing.
    peer.pong().await;
    for _ in 0..200 {
        peer.ping().await;
        sleep(Duration::from_millis(10)).await;
    }
    let said = peer.rest().await;
    assert_eq!(body(&said, 1), b"slow", "{said:?}");
    assert!(said.contains(&going_away(1)), "{said:?}");
    drop(peer);
    assert!(server.stopped().await.is_clean());
}
