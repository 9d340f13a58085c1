//! `ShutdownSignal` poll by poll, without operating-system signals.

use std::future::pending;

use graceful_signal::{Cause, ShutdownSignal, Trigger};
use tokio::sync::oneshot;
use tokio_test::{assert_pending, assert_ready, task};

#[test]
fn it_goes_wherever_a_shutdown_future_is_asked_for() {
    fn fits<T: Future<Output = ()> + Clone + Send + Sync + Unpin + 'static>(_: &T) {}
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let (trigger, signal) = ShutdownSignal::manual();
    fits(&signal);
    shared(&trigger);
}

#[test]
fn it_is_pending_until_fired_and_then_stays_ready() {
    let (trigger, signal) = ShutdownSignal::manual();
    let mut early = task::spawn(signal.clone());
    assert_pending!(early.poll());
    assert_eq!(
        (signal.level(), signal.cause(), signal.has_fired()),
        (0, None, false)
    );

    trigger.fire();
    assert!(early.is_woken());
    assert_ready!(early.poll());
    assert_ready!(early.poll(), "a second poll is no panic");
    assert_ready!(
        task::spawn(early.clone()).poll(),
        "a clone of one that was polled"
    );
    assert_ready!(task::spawn(signal.clone()).poll(), "a late clone");
    assert_eq!((signal.level(), signal.cause()), (1, Some(Cause::Manual)));
}

#[test]
fn every_waiter_is_woken_also_a_clone_of_one_that_waits() {
    let (trigger, signal) = ShutdownSignal::manual();
    let mut waiters = vec![task::spawn(signal)];
    for at in 0..10 {
        assert_pending!(waiters[at].poll());
        let clone = ShutdownSignal::clone(&waiters[at]);
        waiters.push(task::spawn(clone));
    }
    let _unpolled = waiters.pop();
    trigger.fire();
    assert!(waiters.iter().all(task::Spawn::is_woken));
}

#[test]
fn reached_waits_for_its_level() {
    let (trigger, signal) = ShutdownSignal::manual();
    assert_ready!(task::spawn(signal.reached(0)).poll());
    let mut second = task::spawn(signal.reached(2));
    assert_pending!(second.poll());
    trigger.fire();
    assert_pending!(second.poll());
    trigger.clone().fire();
    assert!(second.is_woken());
    assert_ready!(second.poll());
    assert_ready!(task::spawn(signal.reached(1)).poll());
    assert_eq!(signal.level(), 2);
}

#[test]
fn or_fires_with_either_and_adds_the_levels() {
    for late_fires in [false, true] {
        let ((left, a), (right, b)) = (ShutdownSignal::manual(), ShutdownSignal::manual());
        let both = a.clone().or(b.clone());
        let mut waiting = task::spawn(both.clone());
        let mut second = task::spawn(both.reached(2));
        assert_pending!(waiting.poll());
        assert_pending!(second.poll());
        let pick = |late| -> &Trigger { if late { &right } else { &left } };
        pick(late_fires).fire();
        assert!(waiting.is_woken());
        assert_ready!(waiting.poll());
        assert_pending!(second.poll());
        assert_eq!((a.has_fired(), b.has_fired()), (!late_fires, late_fires));
        pick(!late_fires).fire();
        assert_ready!(second.poll());
        assert_eq!(both.level(), 2);
    }
}

#[tokio::test]
async fn the_cause_of_or_is_that_of_the_earlier() {
    for manual_first in [false, true] {
        let (trigger, manual) = ShutdownSignal::manual();
        let (complete, completed) = oneshot::channel::<()>();
        let future = ShutdownSignal::from_future(completed);
        let both = manual.clone().or(future.clone());
        if manual_first {
            trigger.fire();
        }
        complete.send(()).unwrap();
        future.await;
        trigger.fire();
        let expected = if manual_first {
            Cause::Manual
        } else {
            Cause::Future
        };
        assert_eq!(both.cause(), Some(expected));
    }
}

#[test]
fn a_source_named_twice_counts_once() {
    let (trigger, signal) = ShutdownSignal::manual();
    let (_unfired, other) = ShutdownSignal::manual();
    let all = signal.clone().or(other.clone()).or(signal.or(other));
    trigger.fire();
    assert_eq!(all.level(), 1);
}

#[test]
fn never_is_the_neutral_element() {
    let mut never = task::spawn(ShutdownSignal::never());
    assert_pending!(never.poll());
    let (trigger, signal) = ShutdownSignal::manual();
    let either = ShutdownSignal::never()
        .or(signal)
        .or(ShutdownSignal::never());
    trigger.fire();
    assert_ready!(task::spawn(either).poll());
    assert_pending!(never.poll());
}

#[test]
fn a_dropped_trigger_does_not_fire_and_one_without_handles_is_harmless() {
    let (trigger, signal) = ShutdownSignal::manual();
    let mut waiting = task::spawn(signal);
    drop(trigger.clone());
    assert_pending!(waiting.poll());
    drop(waiting);
    trigger.fire();
}

/// A waker that is dropped may own the last handle of the very signal it waits for.
#[tokio::test]
async fn a_task_that_is_aborted_while_it_waits_does_not_block_the_others() {
    let (trigger, signal) = ShutdownSignal::manual();
    let task = tokio::spawn({
        let signal = signal.clone();
        async move { tokio::join!(signal.clone(), signal, pending::<()>()) }
    });
    tokio::task::yield_now().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    trigger.fire();
    signal.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_delivery_slips_between_look_and_wait() {
    for _ in 0..2_000 {
        let (trigger, signal) = ShutdownSignal::manual();
        let waiting = tokio::spawn(async move { signal.reached(2).await });
        trigger.fire();
        trigger.fire();
        waiting.await.unwrap();
    }
}

#[test]
fn debug_shows_what_was_delivered() {
    let (trigger, signal) = ShutdownSignal::manual();
    trigger.fire();
    assert_eq!(
        format!("{signal:?}"),
        "ShutdownSignal { level: 1, cause: Some(Manual), .. }"
    );
}
