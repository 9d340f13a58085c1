//! HTTP/2 connections that are new when the server stops: a client that waits for our SETTINGS before it opens a stream, as
//! grpc-go, grpc-java and Node do, is served like a client that sends at once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test did not get is its failure"
)]

mod support;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use graceful_server::{Grace, Phase};
use support::{
    Server, app,
    frames::{ALL, Peer, Said, body, going_away},
    quick, until,
};
use tokio::{task::JoinSet, time::sleep};

fn is_goaway(said: &Said) -> bool {
    matches!(said, Said::GoAway { .. })
}

/// Returns all that the peer reads until its first stream has its response.
async fn first_response(peer: &mut Peer) -> Vec<Said> {
    // Our SETTINGS.
    let mut said = peer.until(|said| *said == Said::Other).await;
    sleep(Duration::from_millis(300)).await;
    peer.get(1, "/").await;
    said.extend(peer.until(|said| matches!(said, Said::Data(1, _))).await);
    said
}

#[tokio::test]
async fn accepted_right_before_the_stop_it_is_notified_with_its_first_request() {
    let server = Server::start(app(), |serve| serve);
    let mut peer = Peer::connect(server.addr).await;
    until("accepted", || server.tracker.counts().total() == 1).await;
    server.stop.fire();
    let said = first_response(&mut peer).await;
    assert_eq!(body(&said, 1), b"hello", "{said:?}");
    // A stream that crosses the GOAWAY is served, as on every connection.
    peer.get(3, "/").await;
    peer.pong().await;
    let rest = [said, peer.rest().await].concat();
    assert_eq!(body(&rest, 3), b"hello", "{rest:?}");
    let told: Vec<_> = rest.iter().filter(|said| is_goaway(said)).collect();
    assert_eq!(told, [&going_away(ALL), &going_away(3)]);
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn accepted_in_the_lame_duck_it_is_served_and_stays_until_its_turn() {
    let grace = quick().with_lame_duck(Duration::from_secs(300));
    let server = Server::start(app(), |serve| serve.grace(grace));
    server.stop.fire();
    server.tracker.reached(Phase::LameDuck).await;
    sleep(Duration::from_secs(1)).await;
    let mut peer = Peer::connect(server.addr).await;
    let mut said = first_response(&mut peer).await;
    for stream in [3, 5, 7] {
        peer.get(stream, "/").await;
        let of = move |said: &Said| matches!(said, Said::Data(id, _) if *id == stream);
        said.extend(peer.until(of).await);
    }
    assert!(!said.iter().any(is_goaway), "{said:?}");
    assert_eq!(server.tracker.phase(), Phase::LameDuck);
    server.tracker.advance();
    peer.told().await;
    peer.pong().await;
    assert_eq!(peer.rest().await.last(), Some(&going_away(7)));
    assert!(server.stopped().await.is_clean());
}

#[tokio::test]
async fn without_a_stream_it_is_notified_after_the_first_request_grace_and_then_closed() {
    let server = Server::start(app(), |serve| serve);
    let mut peer = Peer::connect(server.addr).await;
    until("accepted", || server.tracker.counts().total() == 1).await;
    let stop = Instant::now();
    server.stop.fire();
    let said = peer.rest().await;
    let told: Vec<_> = said.iter().filter(|said| is_goaway(said)).collect();
    assert_eq!(told, [&going_away(ALL), &going_away(0)], "{said:?}");
    let grace = quick().first_request_grace;
    // By our own timer, a second after that.
    assert!(stop.elapsed() > grace, "{:?}", stop.elapsed());
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.cutoff, Duration::ZERO, "{report}");
}

/// It had the time for its first request before the signal.
#[tokio::test]
async fn unused_for_longer_than_the_first_request_grace_it_is_notified_at_once() {
    let grace = quick().with_first_request_grace(Duration::from_secs(2));
    let server = Server::start(app(), |serve| serve.grace(grace));
    let mut peer = Peer::connect(server.addr).await;
    sleep(Duration::from_millis(2300)).await;
    let stop = Instant::now();
    server.stop.fire();
    peer.told().await;
    assert!(stop.elapsed() < Duration::from_millis(1500));
    peer.get(1, "/").await;
    peer.pong().await;
    let said = peer.rest().await;
    assert_eq!(body(&said, 1), b"hello", "{said:?}");
    assert!(server.stopped().await.is_clean());
}

/// Sends one request after the other, and opens a new connection after each GOAWAY. Returns the number of connections.
async fn pool_of_one(addr: SocketAddr, until: Instant) -> u32 {
    let mut connections = 0;
    while Instant::now() < until {
        connections += 1;
        let mut peer = Peer::connect(addr).await;
        for stream in (1..).step_by(2) {
            peer.get(stream, "/").await;
            let of = move |said: &Said| matches!(said, Said::Data(id, _) if *id == stream);
            let said = peer.until(of).await;
            if said.iter().any(is_goaway) {
                let _ = peer.pong().await;
                break;
            }
            if Instant::now() > until {
                return connections;
            }
            sleep(Duration::from_millis(2)).await;
        }
    }
    connections
}

#[tokio::test]
async fn a_pool_opens_a_few_connections_in_a_lame_duck_and_not_one_for_each_request() {
    const CLIENTS: u64 = 8;
    let grace = quick().with_lame_duck(Duration::from_secs(3));
    let server = Server::start(app(), |serve| serve.grace(grace));
    let mut pools = JoinSet::new();
    let until = Instant::now() + Duration::from_secs(4);
    for _ in 0..CLIENTS {
        pools.spawn(pool_of_one(server.addr, until));
    }
    sleep(Duration::from_millis(1300)).await;
    server.stop.fire();
    let connections: Vec<_> = pools.join_all().await;
    let sum: u64 = connections.iter().map(|&n| u64::from(n)).sum();
    assert!(sum > CLIENTS, "some got a GOAWAY: {connections:?}");
    assert!(sum < 10 * CLIENTS, "{connections:?}");
    let requests = server.tracker.totals().1;
    assert!(requests > 10 * sum, "{requests} on {connections:?}");
    server.tracker.advance();
    assert!(server.stopped().await.is_clean());
}

/// Nothing of a grace of nothing: as every connection is.
#[tokio::test]
async fn with_a_first_request_grace_of_zero_it_is_notified_when_first_looked_at() {
    let grace = Grace::default().with_first_request_grace(Duration::ZERO);
    let server = Server::start(app(), |serve| serve.grace(grace));
    let mut peer = Peer::connect(server.addr).await;
    until("accepted", || server.tracker.counts().total() == 1).await;
    server.stop.fire();
    peer.told().await;
    peer.pong().await;
    assert_eq!(peer.rest().await.last(), Some(&going_away(0)));
    assert!(server.stopped().await.is_clean());
}
