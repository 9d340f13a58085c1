//! What a drain says to the log. Alone in its process, for what is logged is decided once for all threads.

#![cfg(feature = "tracing")]
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use graceful_layer::{ConnTrackingLayer, Grace, GracefulLayer, Peer, Phase};
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::sleep;
use tower::{Layer, Service, service_fn};

const SECOND: Duration = Duration::from_secs(1);

type Answered = Result<Response<Full<Bytes>>, Infallible>;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything that a drain waits for at one time or another. The clock is paused, so ages and times left are exact.
#[tokio::test(start_paused = true)]
async fn the_log_names_what_is_waited_for_what_was_aborted_and_what_panicked() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let graceful = GracefulLayer::new();
    let tracker = graceful.tracker().clone();
    let handler = service_fn(|_: Request<()>| std::future::pending::<Answered>());
    let mut app = graceful.layer(handler);
    let waiting = tokio::spawn(app.call(Request::get("/wait?token=secret").body(()).unwrap()));
    let mut counting = ConnTrackingLayer::new(tracker.clone()).layer(handler);
    let counted = tokio::spawn(counting.call(Request::get("/counted").body(()).unwrap()));
    let guard = tracker.beacon("nightly-export");
    let new = tracker.open(Peer::Unknown);
    let idle = tracker.adopt(Peer::Unknown, 1);
    tracker.on(Phase::Draining, "flush-kafka", 6 * SECOND, || {
        sleep(7 * SECOND)
    });
    tracker.on(Phase::Closed, "close-pool", 20 * SECOND, || {
        sleep(6 * SECOND)
    });
    tracker.on(Phase::Closed, "broken", SECOND, || async {
        panic!("no\n pool")
    });
    sleep(SECOND).await;
    let drain = tokio::spawn(tracker.drain(Grace::default().with_drain(23 * SECOND)));
    sleep(8 * SECOND).await;
    // In this order, each the last that is waited for before the next reminder.
    drop((new, idle));
    sleep(5 * SECOND).await;
    drop(guard);
    counted.abort();
    drain.await.unwrap();
    waiting.await.unwrap().unwrap();

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let request = "GET /wait from unknown (running";
    let once = [
        format!(
            "INFO graceful_layer: waiting for {request} 6 s), 1 further request, 1 connection without a request, 1 idle connection, \
             drain guard \"nightly-export\" and hook \"flush-kafka\"; deadline in 18 s"
        ),
        format!("INFO graceful_layer: waiting for {request} 11 s), 1 further request and drain guard \"nightly-export\"; deadline in 13 s"),
        format!("INFO graceful_layer: waiting for {request} 16 s); deadline in 8 s"),
        "WARN graceful_layer: hook \"flush-kafka\" did not end within 6 s: it is dropped, and the shutdown continues".to_owned(),
        "WARN graceful_layer: request aborted at the deadline: GET /wait from unknown, running 24 s, the client got 503".to_owned(),
        "ERROR graceful_layer: hook \"broken\" panicked: no pool; everything else continues".to_owned(),
        "INFO graceful_layer: waiting for hook \"close-pool\"; deadline in 15 s".to_owned(),
        "phase phase=\"draining\"".to_owned(),
    ];
    for line in once {
        let count = text.lines().filter(|logged| logged.contains(&line)).count();
        assert_eq!(count, 1, "{line}\n{text}");
    }
    assert!(
        !text.contains("waiting for ;") && !text.contains("secret"),
        "{text}"
    );
}
