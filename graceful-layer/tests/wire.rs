//! What clients see of a drain, whatever state their connection is in (laws 2, 3 and 6).

#![cfg(feature = "hyper")]

mod support;

use std::time::Duration;

use graceful_layer::{Answer, ConnState, Grace, Phase, Timeouts, Tracker};
use support::{BOUND, Raw, serve, serve_and_read_later, serve_movable, until};
use tokio::time::{sleep, timeout};

fn quick() -> Grace {
    let ms = Duration::from_millis;
    Grace::default()
        .with_idle_grace(ms(1000))
        .with_idle_spread(ms(50))
        .with_first_request_grace(ms(1000))
        .with_cutoff(ms(400))
}

#[tokio::test]
async fn an_idle_connection_is_told_by_its_next_answer() {
    let tracker = Tracker::new();
    let mut client = Raw::connect(serve(&tracker).await).await;
    assert!(!client.get("/").await.contains("connection: close"));

    let drain = tokio::spawn(tracker.drain(quick()));
    tracker.reached(Phase::Draining).await;
    sleep(Duration::from_millis(50)).await;
    let answer = client.get("/").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"),
        "{answer}"
    );
    assert_eq!(client.rest().await.unwrap(), "", "FIN, not RST");

    let report = drain.await.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.connections, report.requests), (1, 2));
}

#[tokio::test]
async fn an_idle_connection_is_closed_with_fin_after_its_grace_and_not_before() {
    let tracker = Tracker::new();
    let mut client = Raw::connect(serve(&tracker).await).await;
    client.get("/").await;
    until("idle", || tracker.counts().of(ConnState::Idle) == 1).await;

    let drain = tokio::spawn(tracker.drain(quick()));
    tracker.reached(Phase::Draining).await;
    let told = tokio::spawn(tracker.told());
    assert_eq!(client.rest().await.unwrap(), "", "FIN, not RST");
    assert!(told.is_finished(), "closed only after the idle grace");
    assert!(drain.await.unwrap().is_clean());
}

/// A crowd is not sent away in one instant, to come back to somebody else in one. Under a clock that only waits for what
/// is due, so that a slow machine spreads nothing.
#[tokio::test]
async fn idle_connections_are_closed_at_spread_times() {
    const CLIENTS: usize = 300;
    let tracker = Tracker::new();
    let addr = serve(&tracker).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = Raw::connect(addr).await;
        client.get("/").await;
        clients.spawn(async move {
            assert_eq!(client.rest().await.unwrap(), "", "FIN, not RST");
            tokio::time::Instant::now()
        });
    }
    until("idle", || tracker.counts().of(ConnState::Idle) == CLIENTS).await;
    tokio::time::pause();
    let grace = quick().with_idle_spread(Duration::from_secs(2));
    let began = tokio::time::Instant::now();
    let drain = tokio::spawn(tracker.drain(grace));
    let mut ends: Vec<_> = clients
        .join_all()
        .await
        .iter()
        .map(|end| end.duration_since(began))
        .collect();
    ends.sort();
    // A millisecond for each of them, looked at every 20 ms.
    let spread = ends[CLIENTS - 1] - ends[0];
    assert!(ends[0] >= quick().idle_grace, "the first at {:?}", ends[0]);
    assert!(spread > Duration::from_millis(200), "all within {spread:?}");
    ends.dedup();
    assert!(ends.len() > 5, "at {ends:?}");
    assert!(drain.await.unwrap().is_clean());
}

#[tokio::test]
async fn requests_in_flight_finish() {
    let tracker = Tracker::new();
    let addr = serve(&tracker).await;
    let mut slow = Raw::connect(addr).await;
    slow.send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let mut stream = Raw::connect(addr).await;
    stream
        .send("GET /stream HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    let mut upload = Raw::connect(addr).await;
    upload
        .send("POST /count HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n12345")
        .await;
    until("three in flight", || tracker.in_flight() == 3).await;

    let drain = tokio::spawn(tracker.drain(quick()));
    tracker.reached(Phase::Draining).await;
    upload.send("67890").await;
    assert!(upload.rest().await.unwrap().ends_with("ok\n"));
    let slow = slow.rest().await.unwrap();
    assert!(
        slow.contains("connection: close") && slow.ends_with("slow\n"),
        "{slow}"
    );
    let stream = stream.rest().await.unwrap();
    assert!(
        stream.contains("chunk 9\n") && stream.ends_with("0\r\n\r\n"),
        "{stream}"
    );
    let report = drain.await.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.drained_requests, 3);
}

#[tokio::test]
async fn half_a_head_may_finish() {
    for (first, second) in [
        (
            "P",
            "OST / HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n",
        ),
        ("GET / HT", "TP/1.1\r\nhost: test\r\n\r\n"),
    ] {
        for requests_before in [0, 1] {
            let tracker = Tracker::new();
            let mut client = Raw::connect(serve(&tracker).await).await;
            for _ in 0..requests_before {
                client.get("/").await;
            }
            client.send(first).await;
            until("half a head", || {
                tracker.counts().of(ConnState::Active) == 1
            })
            .await;
            let drain = tokio::spawn(tracker.drain(quick().with_idle_grace(Duration::ZERO)));
            tracker.reached(Phase::Draining).await;
            sleep(Duration::from_millis(100)).await;
            client.send(second).await;
            let answer = client.rest().await.unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 200"),
                "{first:?} {requests_before}: {answer:?}"
            );
            assert!(drain.await.unwrap().is_clean());
        }
    }
}

#[tokio::test]
async fn half_a_head_that_never_finishes_does_not_hold_the_drain() {
    let tracker = Tracker::new();
    let mut client = Raw::connect(serve(&tracker).await).await;
    client.send("GET / HT").await;
    until("half a head", || {
        tracker.counts().of(ConnState::Active) == 1
    })
    .await;
    let report = timeout(BOUND, tracker.drain(quick())).await.unwrap();
    assert_eq!(report.cutoff, Duration::ZERO, "{report}");
    let _ = client.rest().await;
}

#[tokio::test]
async fn a_connection_without_a_byte_is_served_within_its_grace_and_closed_after_it() {
    let tracker = Tracker::new();
    let addr = serve(&tracker).await;
    let mut late = Raw::connect(addr).await;
    let mut silent = Raw::connect(addr).await;
    until("two new", || tracker.counts().of(ConnState::New) == 2).await;

    let drain = tokio::spawn(tracker.drain(quick()));
    tracker.reached(Phase::Draining).await;
    sleep(Duration::from_millis(50)).await;
    assert!(late.get("/").await.contains("connection: close"));
    assert_eq!(silent.rest().await.unwrap(), "");
    assert!(drain.await.unwrap().is_clean());
}

#[tokio::test]
async fn the_cutoff_answers_503_or_cuts_visibly_and_the_report_names_both() {
    let tracker = Tracker::new();
    let addr = serve(&tracker).await;
    let mut hang = Raw::connect(addr).await;
    hang.send("GET /hang?secret=1 HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    let mut endless = Raw::connect(addr).await;
    endless
        .send("GET /endless HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    until("two in flight", || tracker.in_flight() == 2).await;

    let drain = tokio::spawn(tracker.drain(quick().with_drain(Duration::from_millis(300))));
    let answer = hang.rest().await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(
        answer.contains("retry-after: ") && answer.contains("connection: close"),
        "{answer}"
    );
    match endless.rest().await {
        Ok(part) => assert!(
            !part.ends_with("0\r\n\r\n"),
            "a cut must not look like an end"
        ),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    let report = drain.await.unwrap();
    let mut cut: Vec<_> = report
        .abandoned
        .iter()
        .map(|r| (r.path.as_str(), r.answer))
        .collect();
    cut.sort_by_key(|(path, _)| path.len());
    assert_eq!(
        cut,
        [("/hang", Answer::Refused), ("/endless", Answer::Truncated)]
    );
    assert_eq!((report.cut.len(), report.left), (1, 0), "{report}");
    assert_eq!((tracker.counts().total(), tracker.in_flight()), (0, 0));
}

#[tokio::test]
async fn a_panic_and_a_vanished_client_are_counted_down_once() {
    let tracker = Tracker::new();
    let addr = serve(&tracker).await;
    let mut panicking = Raw::connect(addr).await;
    panicking
        .send("GET /panic HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    let _ = panicking.rest().await;
    let mut vanishing = Raw::connect(addr).await;
    vanishing
        .send("GET /endless HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    until("in flight", || tracker.in_flight() == 1).await;
    drop(vanishing);
    until("nothing left", || {
        tracker.in_flight() == 0 && tracker.counts().total() == 0
    })
    .await;
    assert_eq!(tracker.totals(), (2, 2));
}

#[tokio::test]
async fn timeouts_close_idle_and_silent_connections_in_normal_service() {
    let tracker = Tracker::new();
    let addr = serve(&tracker).await;
    let ms = Duration::from_millis;
    tracker.set_timeouts(
        Timeouts::default()
            .with_idle(ms(200))
            .with_first_request(ms(200))
            .with_head(ms(200)),
    );
    let drain = tokio::spawn(tracker.drain_on(graceful_signal::ShutdownSignal::never(), quick()));
    let (mut idle, mut silent, mut half) = (
        Raw::connect(addr).await,
        Raw::connect(addr).await,
        Raw::connect(addr).await,
    );
    idle.get("/").await;
    half.send("GET /").await;
    assert_eq!(idle.rest().await.unwrap(), "");
    assert_eq!(silent.rest().await.unwrap(), "");
    let _ = half.rest().await;
    until("all gone", || tracker.counts().total() == 0).await;
    assert_eq!(tracker.phase(), Phase::Serving);
    drain.abort();
}

/// RFC 9112 §2.2: they begin no request.
#[tokio::test]
async fn empty_lines_after_a_request_leave_a_connection_idle_and_it_ends_with_fin() {
    let tracker = Tracker::new();
    let addr = serve(&tracker).await;
    let mut clients = Vec::new();
    let post = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{}";
    for lines in ["\r\n", "\n", "\r", "\r\n\r\n\r\n"] {
        let (mut together, mut apart) = (Raw::connect(addr).await, Raw::connect(addr).await);
        together.send(&format!("{post}{lines}")).await;
        together.answer().await;
        apart.send(post).await;
        apart.answer().await;
        apart.send(lines).await;
        clients.extend([together, apart]);
    }
    let all_idle = || tracker.counts().of(ConnState::Idle) == clients.len();
    until("idle", all_idle).await;
    let grace = quick().with_first_request_grace(BOUND);
    let drain = tokio::spawn(tracker.drain(grace));
    for client in &mut clients {
        assert_eq!(client.rest().await.unwrap(), "", "FIN, not RST");
    }
    assert!(drain.await.unwrap().is_clean());
}

/// The wrapper cannot know here whether these bytes are a body or request headers. While more bytes arrive, they count as a body.
/// Chunked, because hyper does not pass the end of such a body to its reader if it has a `Content-Length`.
#[tokio::test]
async fn a_body_that_is_read_after_its_response_is_not_closed_while_it_makes_progress() {
    for drained in [false, true] {
        let tracker = Tracker::new();
        let (addr, mut reads) = serve_and_read_later(&tracker).await;
        let second = Duration::from_secs(1);
        tracker.set_timeouts(Timeouts::default().with_head(second));
        let (trigger, signal) = graceful_signal::ShutdownSignal::manual();
        let drain = tokio::spawn(tracker.drain_on(signal, quick()));
        let mut client = Raw::connect(addr).await;
        client
            .send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        client.answer().await;
        if drained {
            trigger.fire();
            tracker.reached(Phase::Draining).await;
        }
        for _ in 0..20 {
            client.send("1\r\nx\r\n").await;
            sleep(Duration::from_millis(150)).await;
        }
        client.send("0\r\n\r\n").await;
        let read = timeout(BOUND, reads.recv()).await.unwrap().unwrap();
        assert_eq!(read, Some(20), "drained: {drained}");
        if !drained {
            trigger.fire();
        }
        assert_eq!(client.rest().await.unwrap(), "", "FIN, not RST");
        assert!(drain.await.unwrap().is_clean());
    }
}

mod http2 {
    //! Frames by hand, for peers that do not behave.

    use super::*;

    const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const SETTINGS_ACK: &str = "\0\0\0\x04\x01\0\0\0\0";
    const GOAWAY_ALL: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\0";
    const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0\x0b\x7b\xa2\xf0\x8b\x9b\xfe\x54";

    /// HEADERS with END_STREAM: GET / of http://test, in HPACK's static table and literals.
    fn get(stream: u8, path: &str) -> Vec<u8> {
        let mut block = vec![0x82, 0x86, 0x41, 4];
        block.extend(b"test");
        block.extend([0x44, path.len() as u8]);
        block.extend(path.as_bytes());
        let mut frame = vec![0, 0, block.len() as u8, 1, 5, 0, 0, 0, stream];
        frame.extend(block);
        frame
    }

    async fn connect(tracker: &Tracker) -> Raw {
        let mut client = Raw::connect(serve(tracker).await).await;
        client.send(PREFACE).await;
        client.send(SETTINGS_ACK).await;
        client
    }

    fn has(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    #[tokio::test]
    async fn a_peer_that_never_answers_the_ping_is_served_and_does_not_hold_the_drain() {
        let tracker = Tracker::new();
        let mut client = connect(&tracker).await;
        client.send_bytes(&get(1, "/")).await;
        until("idle", || {
            tracker.totals().1 == 1 && tracker.in_flight() == 0
        })
        .await;

        let drain = tokio::spawn(tracker.drain(quick()));
        tracker.reached(Phase::Draining).await;
        sleep(Duration::from_millis(100)).await;
        // Races the GOAWAY: between it and our PONG a stream may still be opened, and is answered.
        client.send_bytes(&get(3, "/slow")).await;
        let bytes = client.rest_bytes().await.unwrap();
        assert!(has(&bytes, GOAWAY_ALL) && has(&bytes, PING));
        assert!(has(&bytes, b"slow\n"), "the stream that raced is answered");
        let last = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x03\0\0\0\0";
        assert!(has(&bytes, last), "a second GOAWAY names it as the last");
        let report = timeout(BOUND, drain).await.unwrap().unwrap();
        assert!(
            report.is_clean() && report.cutoff == Duration::ZERO,
            "{report}"
        );
        assert_eq!(report.requests, 2);
    }

    #[tokio::test]
    async fn half_a_preface_does_not_hold_the_drain() {
        let tracker = Tracker::new();
        let mut client = Raw::connect(serve(&tracker).await).await;
        client.send(&PREFACE[..10]).await;
        until("a connection", || tracker.counts().total() == 1).await;
        sleep(Duration::from_millis(50)).await;
        let report = timeout(BOUND, tracker.drain(quick())).await.unwrap();
        assert_eq!(
            (report.cutoff, report.left),
            (Duration::ZERO, 0),
            "{report}"
        );
    }

    #[tokio::test]
    async fn a_preface_in_pieces_is_found_and_one_that_is_none_is_not() {
        let tracker = Tracker::new();
        let mut client = Raw::connect(serve(&tracker).await).await;
        client.0.set_nodelay(true).unwrap();
        for piece in [&PREFACE[..1], &PREFACE[1..2], &PREFACE[2..]] {
            client.send(piece).await;
            sleep(Duration::from_millis(20)).await;
        }
        until("HTTP/2", || {
            tracker.snapshot().iter().any(|conn| conn.http2)
        })
        .await;
        let mut other = Raw::connect(serve(&tracker).await).await;
        other.send("PRI /x HTTP/1.1\r\nhost: test\r\n\r\n").await;
        assert!(other.answer().await.starts_with("HTTP/1.1 "));
        assert_eq!(
            tracker.snapshot().iter().filter(|conn| conn.http2).count(),
            1
        );
        let report = timeout(BOUND, tracker.drain(quick())).await.unwrap();
        assert_eq!(
            (report.cutoff, report.left),
            (Duration::ZERO, 0),
            "{report}"
        );
    }

    #[tokio::test]
    async fn a_preface_that_is_completed_while_draining_gets_its_goaway_at_once() {
        let tracker = Tracker::new();
        let mut client = Raw::connect(serve(&tracker).await).await;
        client.send(&PREFACE[..10]).await;
        until("half a head", || {
            tracker.counts().of(ConnState::Active) == 1
        })
        .await;
        let drain = tokio::spawn(
            tracker.drain(quick().with_first_request_grace(Duration::from_millis(300))),
        );
        tracker.reached(Phase::Draining).await;
        client.send(&PREFACE[10..]).await;
        client.send(SETTINGS_ACK).await;
        client.send_bytes(&get(1, "/")).await;
        let bytes = client.rest_bytes().await.unwrap();
        assert!(has(&bytes, GOAWAY_ALL) && has(&bytes, b"ok\n"));
        assert!(timeout(BOUND, drain).await.unwrap().unwrap().is_clean());
    }

    #[tokio::test]
    async fn a_peer_without_a_request_gets_its_goaways_and_does_not_hold_the_drain() {
        let tracker = Tracker::new();
        let mut client = connect(&tracker).await;
        until("a connection", || tracker.counts().total() == 1).await;
        sleep(Duration::from_millis(50)).await;
        let drain = tokio::spawn(
            tracker.drain(quick().with_first_request_grace(Duration::from_millis(300))),
        );
        let bytes = client.rest_bytes().await.unwrap();
        assert!(has(&bytes, GOAWAY_ALL));
        assert!(
            has(&bytes, b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0"),
            "nothing was processed"
        );
        assert!(timeout(BOUND, drain).await.unwrap().unwrap().is_clean());
    }
}

#[tokio::test]
async fn a_connection_that_may_move_is_neither_told_nor_closed_until_it_may_not() {
    let tracker = Tracker::new();
    let mut client = Raw::connect(serve_movable(&tracker).await).await;
    until("idle, for it has had requests elsewhere", || {
        tracker.counts().of(ConnState::Idle) == 1
    })
    .await;
    assert_eq!(tracker.snapshot()[0].requests, 2);
    tracker.set_moving(true);
    tracker.hand_over();
    let drain = tokio::spawn(tracker.drain(quick()));
    tracker.told().await;
    sleep(Duration::from_millis(200)).await;
    assert!(!client.get("/").await.contains("connection: close"));
    assert_eq!(tracker.counts().of(ConnState::Idle), 1);

    tracker.set_moving(false);
    let answer = client.get("/").await;
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(client.rest().await.unwrap(), "", "FIN, not RST");
    let report = drain.await.unwrap();
    assert_eq!((report.connections, report.requests), (1, 2), "{report}");
}

#[tokio::test]
async fn a_connection_that_may_move_stays_when_the_successor_died_and_does_not_move_to_nobody() {
    let tracker = Tracker::new();
    let mut client = Raw::connect(serve_movable(&tracker).await).await;
    tracker.set_moving(true);
    tracker.hand_over();
    let drain = tokio::spawn(tracker.drain(quick()));
    tracker.told().await;
    assert!(tracker.reclaim());
    assert!(!client.get("/").await.contains("connection: close"));
    until("serving", || tracker.phase() == Phase::Serving).await;
    assert!(!client.get("/").await.contains("connection: close"));

    tracker.hand_over();
    tracker.reached(Phase::Draining).await;
    let answer = client.get("/").await;
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(drain.await.unwrap().is_clean());
}

#[tokio::test]
async fn a_connection_that_no_longer_moves_has_its_whole_idle_grace_from_then() {
    let tracker = Tracker::new();
    let mut client = Raw::connect(serve_movable(&tracker).await).await;
    until("idle", || tracker.counts().of(ConnState::Idle) == 1).await;
    tracker.set_moving(true);
    tracker.hand_over();
    let drain = tokio::spawn(tracker.drain(quick()));
    tracker.told().await;
    let start = tokio::time::Instant::now();
    tracker.set_moving(false);
    assert_eq!(client.rest().await.unwrap(), "", "FIN, not RST");
    assert!(
        start.elapsed() >= Duration::from_millis(900),
        "closed at once"
    );
    assert!(drain.await.unwrap().is_clean());
}
