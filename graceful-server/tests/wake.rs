//! Connections that are accepted in the same instant as the stop signal: each is told of it (laws 1, 2 and 6).
//!
//! The models of the tracker try every order of its steps; this is the whole server on real threads and sockets, ten
//! thousand times. Whoever were not told would wait for the deadline, and the round with it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test did not get is its failure"
)]

mod support;

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use graceful_server::{Drain, Grace, HandoffListener, Report, ShutdownSignal, serve};
use support::BOUND;
use tokio::{task::spawn_blocking, time::timeout};

const ROUNDS: u32 = 10_000;
/// A machine on which rounds take longer than they do anywhere does fewer of them.
const LONGEST: Duration = Duration::from_secs(120);

/// Sends a request that is answered only once its handler is told. `false` if nobody was there any more.
fn asks(path: &Path) -> bool {
    let refused = [ErrorKind::ConnectionRefused, ErrorKind::NotFound];
    let mut client = match UnixStream::connect(path) {
        Err(error) if refused.contains(&error.kind()) => return false,
        client => client.unwrap(),
    };
    client.set_read_timeout(Some(BOUND)).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("told");
    assert!(answer.ends_with("told"), "{answer:?}");
    assert_eq!(answer.matches("connection: close").count(), 1, "{answer}");
    true
}

async fn round(path: &Path, early: bool) -> (bool, Report) {
    let told = get(async || {
        Drain::current().unwrap().draining().await;
        "told"
    });
    let app = Router::new().route("/", told);
    // No wait of it is shorter than the bound of a round.
    let long = BOUND * 3;
    let grace = Grace::default()
        .with_drain(long)
        .with_idle_grace(long)
        .with_first_request_grace(long);
    let listener = HandoffListener::bind(format!("unix:{}", path.display())).unwrap();
    let (stop, signal) = ShutdownSignal::manual();
    let server = serve(listener, app).stop_on(signal).grace(grace);
    let report = tokio::spawn(server.into_future());
    let at = path.to_owned();
    let client = spawn_blocking(move || asks(&at));
    if early {
        tokio::task::yield_now().await;
    }
    stop.fire();
    let answered = timeout(BOUND, client)
        .await
        .expect("the client is told")
        .unwrap();
    let report = timeout(BOUND, report)
        .await
        .expect("the server is told")
        .unwrap();
    (answered, report.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_accepted_in_the_instant_of_the_signal_is_told() {
    let folder = std::env::temp_dir().join(format!("graceful-wake-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (began, mut answered, mut rounds) = (Instant::now(), 0, 0);
    while rounds < ROUNDS && began.elapsed() < LONGEST {
        let (told, report) = round(&folder.join("socket"), rounds % 2 == 0).await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.requests, u64::from(told), "{report}");
        answered += u32::from(told);
        rounds += 1;
    }
    std::fs::remove_dir_all(folder).unwrap();
    assert!(
        answered > 0 && rounds > 100,
        "{answered} of {rounds} rounds"
    );
}
