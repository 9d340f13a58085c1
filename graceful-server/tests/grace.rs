//! Durations of zero, of for ever, and such as contradict each other: what each does to a server (the documentation of `Grace`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test did not get is its failure"
)]

mod support;

use std::time::Duration;

use axum::{Router, routing::get};
use graceful_server::{ConnState, Grace, Phase, Report};
use support::{Server, app, quick, read_all, until};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

const FOR_EVER: Duration = Duration::MAX;
const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

fn hanging() -> Router {
    app().route("/hang", get(std::future::pending::<&'static str>))
}

/// A new connection, an idle one, one with a request in flight.
struct Clients {
    new: TcpStream,
    idle: TcpStream,
    busy: TcpStream,
}

impl Clients {
    async fn of(server: &Server) -> Self {
        let new = TcpStream::connect(server.addr).await.unwrap();
        let idle = server.connect(GET).await;
        let busy = server.connect(&GET.replace("/ ", "/hang ")).await;
        until("one of each", || {
            let counts = server.tracker.counts();
            let one_of_each =
                [ConnState::New, ConnState::Idle, ConnState::Active].map(|state| counts.of(state));
            one_of_each == [1; 3]
        })
        .await;
        Self { new, idle, busy }
    }
}

fn zero() -> Grace {
    let zero = Duration::ZERO;
    Grace::default()
        .with_lame_duck(zero)
        .with_drain(zero)
        .with_idle_grace(zero)
        .with_idle_spread(zero)
        .with_first_request_grace(zero)
        .with_linger(zero)
        .with_cutoff(zero)
}

fn for_ever() -> Grace {
    Grace::default()
        .with_lame_duck(FOR_EVER)
        .with_drain(FOR_EVER)
        .with_idle_grace(FOR_EVER)
        .with_idle_spread(FOR_EVER)
        .with_first_request_grace(FOR_EVER)
        .with_linger(FOR_EVER)
        .with_cutoff(FOR_EVER)
}

#[tokio::test]
async fn with_nothing_but_zeros_everything_is_dropped_at_once_and_nothing_is_left() {
    let server = Server::start(hanging(), |serve| serve.grace(zero()));
    let mut clients = Clients::of(&server).await;
    let report = server.stopped().await;
    assert_eq!((report.abandoned.len(), report.left), (1, 0), "{report}");
    assert_no_answer(&mut clients.busy).await;
}

/// A 503 may have made it out; nothing else did, and no end that looks like one.
async fn assert_no_answer(client: &mut TcpStream) {
    let answer = read_all(client).await.unwrap_or_default();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 503"),
        "{answer}"
    );
}

#[tokio::test]
async fn with_zeros_and_nothing_in_flight_nothing_is_cut() {
    let grace = zero().with_drain(Duration::from_secs(300));
    let server = Server::start(hanging(), |serve| serve.grace(grace));
    let Clients {
        mut new,
        mut idle,
        busy,
    } = Clients::of(&server).await;
    drop(busy);
    until("two", || server.tracker.counts().total() == 2).await;
    let report = server.stopped().await;
    assert!(
        report.is_clean() && report.cutoff == Duration::ZERO,
        "{report}"
    );
    assert_eq!(read_all(&mut new).await.unwrap(), "");
    assert!(read_all(&mut idle).await.unwrap().ends_with("hello"));
}

#[tokio::test]
async fn without_a_cutoff_to_say_so_a_cut_is_still_seen_and_named() {
    let grace = quick()
        .with_drain(Duration::from_millis(300))
        .with_cutoff(Duration::ZERO);
    let server = Server::start(hanging(), |serve| serve.grace(grace));
    let mut busy = server.connect(&GET.replace("/ ", "/hang ")).await;
    until("in flight", || server.tracker.in_flight() == 1).await;
    let report = server.stopped().await;
    assert_eq!((report.abandoned.len(), report.left), (1, 0), "{report}");
    assert_no_answer(&mut busy).await;
}

/// Nothing overflows, everybody is served, and further signals still end it.
#[tokio::test]
async fn what_may_take_for_ever_does_until_it_is_hurried() {
    let server = Server::start(hanging(), |serve| serve.grace(for_ever()));
    let mut clients = Clients::of(&server).await;
    let tracker = server.tracker.clone();
    server.stop.fire();
    tracker.reached(Phase::LameDuck).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(
        (tracker.phase(), tracker.counts().total()),
        (Phase::LameDuck, 3)
    );
    server.stop.fire();
    tracker.reached(Phase::Draining).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(
        (tracker.phase(), tracker.counts().total()),
        (Phase::Draining, 3)
    );
    for client in [&mut clients.new, &mut clients.idle] {
        client.write_all(GET.as_bytes()).await.unwrap();
        let answer = read_all(client).await.unwrap();
        assert!(
            answer.ends_with("hello") && answer.contains("connection: close"),
            "{answer}"
        );
    }
    server.stop.fire();
    let answer = read_all(&mut clients.busy).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    drop(clients);
    let report = server.stopped().await;
    assert_eq!((report.abandoned.len(), report.left), (1, 0), "{report}");
}

/// The deadline is over everything: what would be waited for after it is not.
#[tokio::test]
async fn parts_that_are_longer_than_the_whole_are_cut_to_it_and_an_idle_connection_is_no_loss() {
    let grace = for_ever()
        .with_lame_duck(Duration::ZERO)
        .with_drain(Duration::from_millis(500))
        .with_cutoff(Duration::from_millis(500));
    let server = Server::start(hanging(), |serve| serve.grace(grace));
    let Clients {
        mut new,
        mut idle,
        busy,
    } = Clients::of(&server).await;
    drop(busy);
    until("two", || server.tracker.counts().total() == 2).await;
    let report: Report = server.stopped().await;
    assert!(report.is_clean(), "{report}");
    assert!(
        report.draining >= Duration::from_millis(500) && report.left == 0,
        "{report}"
    );
    assert_eq!(read_all(&mut new).await.unwrap(), "");
    assert!(
        read_all(&mut idle).await.unwrap().ends_with("hello"),
        "FIN, not RST"
    );
}
