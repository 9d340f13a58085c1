//! A header block that arrives in several frames while the server stops: no other frame is inserted into it, and its
//! request is served (RFC 9113 §4.3, §6.10).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test did not get is its failure"
)]

mod support;

use std::time::Duration;

use support::{
    Server, app,
    frames::{CONTINUATION, HEADERS, Peer, Said, body, frame, going_away, settings},
    until,
};
use tokio::{io::AsyncWriteExt, time::sleep};

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// How a request's header block is divided.
#[derive(Clone, Copy, Debug)]
struct Split {
    /// Of HEADERS, besides END_STREAM.
    flags: u8,
    /// Where the block is divided into frames.
    bounds: &'static [usize],
    /// How many bytes the client sends before it stalls.
    sent: usize,
}

impl Split {
    fn bytes(self) -> Vec<u8> {
        let block = Peer::block("/");
        let mut parts = Vec::new();
        let mut from = 0;
        for &to in self.bounds.iter().chain([&block.len()]) {
            parts.push(&block[from..to]);
            from = to;
        }
        let mut bytes = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let end = if at + 1 == parts.len() {
                END_HEADERS
            } else {
                0
            };
            bytes.extend(match at {
                0 => self.headers(part, end),
                _ => frame(CONTINUATION, end, 3, part),
            });
        }
        bytes
    }

    fn headers(self, part: &[u8], end: u8) -> Vec<u8> {
        let mut payload = Vec::new();
        if self.flags & PADDED != 0 {
            payload.push(4);
        }
        if self.flags & PRIORITY != 0 {
            payload.extend([0, 0, 0, 0, 15]);
        }
        payload.extend(part);
        if self.flags & PADDED != 0 {
            payload.extend([0; 4]);
        }
        frame(HEADERS, self.flags | END_STREAM | end, 3, &payload)
    }
}

fn split(flags: u8, bounds: &'static [usize], sent: usize) -> Split {
    Split {
        flags,
        bounds,
        sent,
    }
}

/// Long enough for the PONG that a silent client does not send.
const STALL: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn a_request_whose_headers_come_in_several_frames_is_served_whenever_the_client_stalls() {
    let headers = 9 + 3;
    let splits = [
        // At the end of HEADERS, in its payload, and in the header of the CONTINUATION.
        split(0, &[3], headers),
        split(0, &[3], headers - 2),
        split(0, &[3], headers + 4),
        // Between two CONTINUATIONs, and inside of the second.
        split(0, &[3, 6], headers + 9 + 3),
        split(0, &[3, 6, 9], headers + 9 + 3 + 10),
        // An empty HEADERS, with padding and with a priority.
        split(0, &[0], 9),
        split(PADDED, &[3], headers + 1 + 4),
        split(PRIORITY, &[3], headers + 5),
        split(PADDED | PRIORITY, &[3, 4], headers + 1 + 5 + 4),
    ];
    let mut stops = tokio::task::JoinSet::new();
    for split in splits {
        stops.spawn(stalls_in_a_block(split));
    }
    while let Some(stop) = stops.join_next().await {
        stop.unwrap();
    }
}

/// Another stream is in its handler: a connection error would take its response away too.
async fn stalls_in_a_block(split: Split) {
    let server = Server::start(app(), |serve| serve);
    let mut peer = Peer::connect(server.addr).await;
    peer.get(1, "/slow/2500").await;
    until("in flight", || server.tracker.in_flight() == 1).await;
    let bytes = split.bytes();
    peer.0.write_all(&bytes[..split.sent]).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    server.stop.fire();
    let mut said = peer.told().await;
    sleep(STALL).await;
    peer.0.write_all(&bytes[split.sent..]).await.unwrap();
    peer.pong().await;
    said.extend(peer.rest().await);
    assert_eq!(body(&said, 1), b"slow", "{split:?}: {said:?}");
    assert_eq!(body(&said, 3), b"hello", "{split:?}: {said:?}");
    let errors = |said: &&Said| matches!(said, Said::GoAway { code: 1.., .. });
    assert_eq!(said.iter().find(errors), None, "{split:?}");
    let report = server.stopped().await;
    assert!(report.is_clean(), "{split:?}: {report}");
}

#[tokio::test]
async fn a_client_that_is_silent_inside_of_a_block_does_not_hold_the_drain() {
    let server = Server::start(app(), |serve| serve);
    let mut peer = Peer::connect(server.addr).await;
    peer.get(1, "/").await;
    until("idle", || {
        server.tracker.totals().1 == 1 && server.tracker.in_flight() == 0
    })
    .await;
    let bytes = split(0, &[3], 12).bytes();
    peer.0.write_all(&bytes[..12]).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    server.stop.fire();
    let said = peer.rest().await;
    let errors = |said: &&Said| matches!(said, Said::GoAway { code: 1.., .. });
    assert_eq!(said.iter().find(errors), None, "{said:?}");
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.cutoff, Duration::ZERO, "{report}");
}

/// One byte of the block every half second would hold the drain until the deadline.
#[tokio::test]
async fn a_client_that_sends_its_block_byte_by_byte_does_not_hold_the_drain_for_long() {
    let server = Server::start(app(), |serve| serve);
    let mut peer = Peer::connect(server.addr).await;
    peer.get(1, "/").await;
    until("idle", || {
        server.tracker.totals().1 == 1 && server.tracker.in_flight() == 0
    })
    .await;
    server.stop.fire();
    peer.told().await;
    let header = [0, 0, 200, HEADERS, END_STREAM, 0, 0, 0, 3];
    peer.0.write_all(&header).await.unwrap();
    let mut sent = 0;
    while peer.0.write_all(b"\x82").await.is_ok() && sent < 40 {
        sent += 1;
        sleep(Duration::from_millis(250)).await;
    }
    let report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.cutoff, Duration::ZERO, "{report}");
    assert!(sent < 40, "it was closed while it went on");
}

/// The PONG is inserted as soon as the block is complete, so that the last GOAWAY does not wait for the client's.
#[tokio::test]
async fn after_a_block_that_was_late_the_last_goaway_comes_without_a_pong() {
    let server = Server::start(app(), |serve| serve);
    let mut peer = Peer::connect(server.addr).await;
    peer.get(1, "/").await;
    until("idle", || {
        server.tracker.totals().1 == 1 && server.tracker.in_flight() == 0
    })
    .await;
    server.stop.fire();
    let mut said = peer.told().await;
    let bytes = split(0, &[3], 12).bytes();
    peer.0.write_all(&bytes[..12]).await.unwrap();
    sleep(STALL).await;
    peer.0.write_all(&bytes[12..]).await.unwrap();
    said.extend(peer.rest().await);
    assert_eq!(body(&said, 3), b"hello", "{said:?}");
    assert_eq!(said.last(), Some(&going_away(3)), "{said:?}");
    assert!(server.stopped().await.is_clean());
}

/// RFC 9113 §3.4: the first frame of a client is SETTINGS, so no PONG may stand before it.
#[tokio::test]
async fn settings_that_come_late_are_the_first_frame_that_hyper_reads() {
    let server = Server::start(app(), |serve| serve.grace(support::quick()));
    let mut peer = Peer::connect_with_preface_only(server.addr).await;
    until("accepted", || server.tracker.counts().total() == 1).await;
    server.stop.fire();
    // The first-request grace, after which it is notified, and half of the time for the PONG.
    sleep(Duration::from_millis(2000)).await;
    peer.0.write_all(&settings()).await.unwrap();
    peer.get(1, "/").await;
    let said = peer.rest().await;
    assert_eq!(body(&said, 1), b"hello", "{said:?}");
    assert_eq!(said.last(), Some(&going_away(1)), "{said:?}");
    assert!(server.stopped().await.is_clean());
}
