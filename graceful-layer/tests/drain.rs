//! The order of a stop, under paused time: phases, signals, ways back (laws 1, 5 and 7).

use std::time::Duration;

use graceful_layer::{ConnTrackingLayer, Grace, Phase, Report, Tracker};
use graceful_signal::ShutdownSignal;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower::{Service, ServiceExt, layer::Layer, service_fn};

const SECOND: Duration = Duration::from_secs(1);

fn grace() -> Grace {
    Grace::default()
        .with_lame_duck(8 * SECOND)
        .with_drain(20 * SECOND)
}

/// Lets every task that can run do so.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

fn spawn(tracker: &Tracker, signal: ShutdownSignal, grace: Grace) -> JoinHandle<Report> {
    tokio::spawn(tracker.drain_on(signal, grace))
}

#[tokio::test(start_paused = true)]
async fn nothing_open_and_no_lame_duck_is_over_at_once() {
    let tracker = Tracker::new();
    let start = Instant::now();
    let report = tracker.drain(Grace::default()).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(report.is_clean());
    assert_eq!(tracker.phase(), Phase::Closed);
}

#[tokio::test(start_paused = true)]
async fn lame_duck_ends_on_time_and_not_because_nothing_is_in_flight() {
    let tracker = Tracker::new();
    let (trigger, signal) = ShutdownSignal::manual();
    let drain = spawn(&tracker, signal, grace());
    trigger.fire();
    settle().await;
    assert_eq!(tracker.phase(), Phase::LameDuck);
    sleep(Duration::from_millis(7900)).await;
    assert_eq!(tracker.phase(), Phase::LameDuck);
    let report = drain.await.unwrap();
    assert!(
        report.lame_duck >= 8 * SECOND && report.lame_duck < 9 * SECOND,
        "{report:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn every_further_signal_is_one_phase_faster_and_the_third_cuts() {
    let tracker = Tracker::new();
    let _open = tracker.open(graceful_layer::Peer::Unknown);
    let (trigger, signal) = ShutdownSignal::manual();
    let drain = spawn(&tracker, signal, grace());
    for phase in [Phase::LameDuck, Phase::Draining, Phase::Cutoff] {
        trigger.fire();
        settle().await;
        assert_eq!(tracker.phase(), phase);
    }
    let report = drain.await.unwrap();
    assert_eq!(report.left, 1, "a connection that nobody polls cannot go");
    assert!(!report.is_clean());
}

#[tokio::test(start_paused = true)]
async fn three_signals_at_once_cut() {
    let tracker = Tracker::new();
    let _beacon = tracker.beacon("job");
    let (trigger, signal) = ShutdownSignal::manual();
    for _ in 0..3 {
        trigger.fire();
    }
    let start = Instant::now();
    let report = spawn(&tracker, signal, grace()).await.unwrap();
    assert!(start.elapsed() <= 2 * SECOND);
    assert_eq!(report.beacons, ["job"]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_whatever_is_open() {
    let tracker = Tracker::new();
    let _beacon = tracker.beacon("endless job");
    let start = Instant::now();
    let report = tracker.drain(grace()).await;
    let limit = grace().total();
    assert!(
        start.elapsed() <= limit + SECOND,
        "{:?} of {limit:?}",
        start.elapsed()
    );
    assert_eq!(
        (report.left, report.beacons.as_slice()),
        (1, &["endless job".to_owned()][..])
    );
}

#[tokio::test(start_paused = true)]
async fn a_beacon_holds_the_drain_and_no_longer() {
    let tracker = Tracker::new();
    let beacon = tracker.beacon("job");
    let drain = spawn(&tracker, ShutdownSignal::never(), Grace::default());
    tracker.begin();
    sleep(3 * SECOND).await;
    assert_eq!(tracker.phase(), Phase::Draining);
    drop(beacon);
    let report = drain.await.unwrap();
    assert!(
        report.is_clean() && report.draining <= 3 * SECOND + SECOND / 10,
        "{report:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn lame_duck_can_be_taken_back_and_begun_again() {
    let tracker = Tracker::new();
    let (trigger, signal) = ShutdownSignal::manual();
    let drain = spawn(&tracker, signal, grace());
    assert!(!tracker.resume(), "nothing to take back");
    trigger.fire();
    tracker.reached(Phase::LameDuck).await;
    assert!(tracker.resume());
    settle().await;
    assert_eq!(
        (tracker.phase(), tracker.deadline()),
        (Phase::Serving, None)
    );
    sleep(60 * SECOND).await;
    assert_eq!(tracker.phase(), Phase::Serving);

    trigger.fire();
    settle().await;
    assert_eq!(
        tracker.phase(),
        Phase::LameDuck,
        "the first signal of a new stop is its first step"
    );
    assert!(tracker.advance());
    tracker.reached(Phase::Draining).await;
    assert!(!tracker.resume(), "too late");
    assert!(drain.await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_skips_lame_duck_and_can_be_reclaimed() {
    let tracker = Tracker::new();
    let conn = tracker.open(graceful_layer::Peer::Unknown);
    let drain = spawn(&tracker, ShutdownSignal::never(), grace());
    assert!(tracker.hand_over());
    settle().await;
    assert_eq!(tracker.phase(), Phase::Draining);
    assert!(tracker.reclaim());
    settle().await;
    assert_eq!(tracker.phase(), Phase::Serving);
    assert!(tracker.hand_over(), "and again");
    tracker.reached(Phase::Draining).await;
    drop(conn);
    assert!(drain.await.unwrap().is_clean());
}

/// The service is stopped in the instant in which the successor of this process is found dead.
#[tokio::test(start_paused = true)]
async fn a_signal_right_behind_a_reclaim_is_a_stop_and_not_taken_back_with_the_hand_over() {
    let tracker = Tracker::new();
    let conn = tracker.open(graceful_layer::Peer::Unknown);
    let (trigger, signal) = ShutdownSignal::manual();
    let drain = spawn(&tracker, signal, grace());
    assert!(tracker.hand_over());
    settle().await;
    assert!(tracker.reclaim());
    trigger.fire();
    settle().await;
    assert_eq!(tracker.phase(), Phase::LameDuck);
    drop(conn);
    assert!(drain.await.unwrap().is_clean());
}

/// Both say the same, in whichever order they are seen.
#[tokio::test(start_paused = true)]
async fn a_command_and_a_signal_in_the_same_instant_are_one_stop() {
    type Command = fn(&Tracker) -> bool;
    let commands: [(Command, Phase, u32); 2] = [
        (Tracker::begin, Phase::LameDuck, 1),
        (Tracker::hand_over, Phase::Draining, 2),
    ];
    for (command, phase, nothing_new) in commands {
        let tracker = Tracker::new();
        let _open = tracker.open(graceful_layer::Peer::Unknown);
        let (trigger, signal) = ShutdownSignal::manual();
        let _drain = spawn(&tracker, signal, grace());
        settle().await;
        assert!(command(&tracker));
        for _ in 0..nothing_new {
            trigger.fire();
            settle().await;
            assert_eq!(tracker.phase(), phase);
        }
        trigger.fire();
        settle().await;
        assert!(tracker.phase() > phase, "a further one is faster");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_waiter_sees_a_phase_that_was_reached() {
    let tracker = Tracker::new();
    tracker.drain(Grace::default()).await;
    for phase in Phase::ALL {
        tracker.reached(phase).await;
    }
    tracker.told().await;
    assert!(!tracker.begin() && !tracker.advance() && !tracker.cutoff());
}

#[tokio::test(start_paused = true)]
async fn a_second_drain_returns_the_report_of_the_first() {
    let tracker = Tracker::new();
    let beacon = tracker.beacon("job");
    let first = spawn(&tracker, ShutdownSignal::never(), Grace::default());
    let second = spawn(&tracker, ShutdownSignal::never(), Grace::default());
    tracker.begin();
    sleep(2 * SECOND).await;
    drop(beacon);
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first.draining, second.draining);
}

#[tokio::test(start_paused = true)]
async fn a_layer_alone_tells_clients_for_the_idle_grace_before_it_is_over() {
    let tracker = Tracker::new();
    let mut service =
        ConnTrackingLayer::new(tracker.clone()).layer(service_fn(|wait: Duration| async move {
            sleep(wait).await;
            Ok::<_, std::convert::Infallible>(())
        }));
    let long = tokio::spawn(service.ready().await.unwrap().call(5 * SECOND));
    settle().await;
    assert_eq!(tracker.in_flight(), 1);

    let start = Instant::now();
    let drain = spawn(&tracker, ShutdownSignal::never(), Grace::default());
    tracker.begin();
    tracker.told().await;
    assert_eq!(start.elapsed().as_secs(), 1, "told after the idle grace");
    assert_eq!(tracker.phase(), Phase::Draining);
    let report = drain.await.unwrap();
    assert_eq!(
        start.elapsed().as_secs(),
        4,
        "as long as the request, no longer"
    );
    assert!(report.is_clean() && long.is_finished());
    assert_eq!((report.requests, report.drained_requests), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn durations_of_zero_and_of_for_ever_are_defined() {
    let zero = Grace::default()
        .with_drain(Duration::ZERO)
        .with_idle_grace(Duration::ZERO)
        .with_idle_spread(Duration::ZERO)
        .with_first_request_grace(Duration::ZERO)
        .with_cutoff(Duration::ZERO);
    let tracker = Tracker::new();
    let _beacon = tracker.beacon("job");
    assert_eq!(tracker.drain(zero).await.left, 1);

    let huge = Grace::default()
        .with_lame_duck(Duration::MAX)
        .with_drain(Duration::MAX);
    let tracker = Tracker::new();
    let drain = spawn(&tracker, ShutdownSignal::never(), huge);
    tracker.begin();
    sleep(1000 * SECOND).await;
    assert_eq!(tracker.phase(), Phase::LameDuck);
    tracker.advance();
    assert!(drain.await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn hooks_run_at_their_phase_and_those_of_the_end_in_reverse() {
    let tracker = Tracker::new();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let note = |name: &'static str| {
        let (seen, tracker) = (seen.clone(), tracker.clone());
        move || {
            let (seen, phase) = (seen.clone(), tracker.phase());
            async move { seen.lock().unwrap().push((name, phase)) }
        }
    };
    tracker.on(Phase::Closed, "pool", SECOND, note("pool"));
    tracker.on(Phase::Closed, "logs", SECOND, note("logs"));
    tracker.on(Phase::Draining, "server", SECOND, note("server"));
    tracker.on(Phase::LameDuck, "consumer", SECOND, note("consumer"));
    assert!(tracker.drain(grace()).await.is_clean());
    let seen = seen.lock().unwrap().clone();
    let order: Vec<_> = seen.iter().map(|(name, _)| *name).collect();
    assert_eq!(order, ["consumer", "server", "logs", "pool"]);
    assert_eq!((seen[0].1, seen[1].1), (Phase::LameDuck, Phase::Draining));
}

#[tokio::test(start_paused = true)]
async fn hooks_hold_the_drain_to_their_bound_and_a_skipped_lame_duck_runs_its_hooks() {
    let tracker = Tracker::new();
    tracker.on(Phase::LameDuck, "slow", 9 * SECOND, || sleep(3 * SECOND));
    tracker.on(Phase::Closed, "stuck", 2 * SECOND, std::future::pending);
    let start = Instant::now();
    let report = tracker.drain(Grace::default()).await;
    assert_eq!(
        start.elapsed().as_secs(),
        5,
        "three to drain, two for the end"
    );
    assert_eq!(report.beacons, ["stuck"]);
    assert!(!report.is_clean());
}

#[tokio::test(start_paused = true)]
async fn hooks_run_again_at_a_stop_that_was_taken_back() {
    let tracker = Tracker::new();
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = runs.clone();
    tracker.on(Phase::LameDuck, "consumer", SECOND, move || {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        std::future::ready(())
    });
    let drain = spawn(&tracker, ShutdownSignal::never(), grace());
    for _ in 0..2 {
        tracker.begin();
        tracker.reached(Phase::LameDuck).await;
        tracker.resume();
        settle().await;
    }
    assert_eq!(
        (
            tracker.phase(),
            runs.load(std::sync::atomic::Ordering::SeqCst)
        ),
        (Phase::Serving, 2)
    );
    drain.abort();
}

#[tokio::test(start_paused = true)]
async fn two_signals_are_nothing_new_after_a_hand_over_but_end_reclaiming() {
    let tracker = Tracker::new();
    let beacon = tracker.beacon("job");
    let (trigger, signal) = ShutdownSignal::manual();
    let drain = spawn(&tracker, signal, Grace::default());
    tracker.hand_over();
    tracker.reached(Phase::Draining).await;
    for _ in 0..2 {
        trigger.fire();
        sleep(3 * SECOND).await;
        assert_eq!(
            tracker.phase(),
            Phase::Draining,
            "the running drain goes on"
        );
        assert!(!tracker.reclaim(), "stopped for good");
    }
    trigger.fire();
    settle().await;
    assert_eq!(tracker.phase(), Phase::Cutoff, "the third is faster");
    drop(beacon);
    drain.await.unwrap();
}

#[test]
fn a_runtime_without_io_can_be_drained_in() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.unwrap().block_on(async {
        let (trigger, signal) = ShutdownSignal::manual();
        let tracker = Tracker::new();
        let drain = spawn(&tracker, signal, Grace::default());
        tokio::task::yield_now().await;
        trigger.fire();
        assert!(drain.await.unwrap().is_clean());
    });
}
