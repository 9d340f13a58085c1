//! What signals do to real processes, one for each test.
#![cfg(unix)]

mod support;

use std::thread;

use graceful_signal::{NotifyContext, ShutdownSignal, SignalKind, on_signal};
use rustix::process::Signal;
use signal_hook::low_level::raise;
use tokio::runtime::Handle;
use tokio::task::yield_now;

use support::{PATIENCE, child, deeper, depth, say};

/// Blocks the runtime's only thread, for the test to see what happens without it.
fn block() {
    thread::sleep(PATIENCE);
}

#[test]
fn after_stop_the_next_ctrl_c_kills_a_blocked_runtime() {
    let scenario = || async {
        let context = NotifyContext::new([SignalKind::interrupt()]).unwrap();
        say("ready");
        context.signal().await;
        context.stop();
        say("stopped");
        block();
    };
    let Some(mut child) = child(scenario) else {
        return;
    };
    child
        .says("ready")
        .send(Signal::INT)
        .says("stopped")
        .send(Signal::INT);
    child.is_killed_by(Signal::INT);
}

#[test]
fn before_stop_a_context_counts_without_limit() {
    let scenario = || async {
        let context = NotifyContext::new([SignalKind::interrupt()]).unwrap();
        let signal = context.signal();
        for level in 1..=6 {
            say(signal.level());
            signal.reached(level).await;
        }
        assert_eq!(signal.cause().unwrap().to_string(), "SIGINT");
    };
    let Some(mut child) = child(scenario) else {
        return;
    };
    for level in 0..6 {
        child.says(&level.to_string()).send(Signal::INT);
    }
    child.succeeds();
}

#[test]
fn three_deliveries_are_levels_and_the_fourth_kills() {
    let scenario = || async {
        let signal = ShutdownSignal::terminate().unwrap();
        say("ready");
        for level in 1..=3 {
            signal.reached(level).await;
            say(format!("{level} {}", signal.cause().unwrap()));
        }
        std::future::pending().await
    };
    let Some(mut child) = child(scenario) else {
        return;
    };
    child.says("ready").send(Signal::TERM).says("1 SIGTERM");
    child
        .send(Signal::INT)
        .says("2 SIGTERM")
        .send(Signal::TERM)
        .says("3 SIGTERM");
    child.send(Signal::INT);
    child.is_killed_by(Signal::INT);
}

#[test]
fn stop_leaves_the_signal_to_others_who_want_it() {
    let scenario = || async {
        let [first, second] = [(); 2].map(|()| NotifyContext::new([SignalKind::hangup()]).unwrap());
        let (ran, mut runs) = tokio::sync::mpsc::unbounded_channel();
        let hook = on_signal(SignalKind::hangup(), move || ran.send(()).unwrap()).unwrap();
        first.stop();
        first.stop();
        say("one stopped");
        second.signal().await;
        runs.recv().await.unwrap();
        assert!(!first.signal().has_fired());
        second.stop();
        say("two stopped");
        runs.recv().await.unwrap();
        drop(hook);
        say("none left");
        block();
    };
    let Some(mut child) = child(scenario) else {
        return;
    };
    child.says("one stopped").send(Signal::HUP);
    child.says("two stopped").send(Signal::HUP);
    child.says("none left").send(Signal::HUP);
    child.is_killed_by(Signal::HUP);
}

#[test]
fn dropping_the_last_handle_gives_the_default_action_back() {
    let scenario = || async {
        let context = NotifyContext::new([SignalKind::terminate()]).unwrap();
        let signal = context.signal();
        let clone = signal.clone().or(ShutdownSignal::never());
        drop(context);
        drop(signal);
        say("one handle left");
        clone.reached(1).await;
        drop(clone);
        say("none left");
        block();
    };
    let Some(mut child) = child(scenario) else {
        return;
    };
    child
        .says("one handle left")
        .send(Signal::TERM)
        .says("none left")
        .send(Signal::TERM);
    child.is_killed_by(Signal::TERM);
}

#[test]
fn dropping_the_runtime_gives_the_default_action_back() {
    let scenario = || async {
        let signal = thread::spawn(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let inside = runtime.enter();
            let signal = ShutdownSignal::terminate().unwrap();
            drop(inside);
            drop(runtime);
            signal
        });
        let signal = signal.join().unwrap();
        say("dropped");
        block();
        drop(signal);
    };
    let Some(mut child) = child(scenario) else {
        return;
    };
    child.says("dropped").send(Signal::TERM);
    child.is_killed_by(Signal::TERM);
}

#[test]
fn a_signal_may_be_taken_again_after_it_was_given_back() {
    let scenario = || async {
        for _ in 0..3 {
            let context = NotifyContext::new([SignalKind::user_defined1()]).unwrap();
            context.stop();
        }
        let _context = NotifyContext::new([SignalKind::quit()]).unwrap();
        let again = NotifyContext::new([SignalKind::user_defined1()]).unwrap();
        say("ready");
        again.signal().await;
        drop(again);
        say("given back");
        block();
    };
    let Some(mut child) = child(scenario) else {
        return;
    };
    child
        .says("ready")
        .send(Signal::USR1)
        .says("given back")
        .send(Signal::USR1);
    child.is_killed_by(Signal::USR1);
}

#[test]
fn every_delivery_counts_also_on_a_blocked_runtime() {
    let scenario = || async {
        let (ran, mut runs) = tokio::sync::mpsc::unbounded_channel();
        let kind = SignalKind::user_defined2();
        let hook = on_signal(kind, move || {
            ran.send(()).unwrap();
            panic!("a panic of the hook is not the end of it");
        });
        let _hook = hook.unwrap();
        let context = NotifyContext::new([kind, kind]).unwrap();
        // `raise` returns after the handler ran, and the runtime's only thread is this one: nothing
        // has looked before the last delivery is made.
        (0..50).for_each(|_| raise(kind.as_raw()).unwrap());
        context.stop();
        assert_eq!(context.signal().level(), 0);
        context.signal().reached(50).await;
        for _ in 0..50 {
            runs.recv().await.unwrap();
        }
        assert_eq!(context.signal().level(), 50);
        assert!(runs.try_recv().is_err());
    };
    if let Some(mut child) = child(scenario) {
        child.succeeds();
    }
}

#[test]
fn a_dropped_hook_is_not_called_and_its_signal_kills() {
    let scenario = || async {
        let kind = SignalKind::user_defined1();
        let hook = on_signal(kind, || say("called")).unwrap();
        raise(kind.as_raw()).unwrap();
        drop(hook);
        while Handle::current().metrics().num_alive_tasks() > 0 {
            yield_now().await;
        }
        say("dropped");
        block();
    };
    let Some(mut child) = child(scenario) else {
        return;
    };
    child.says("dropped").send(Signal::USR1);
    child.is_killed_by(Signal::USR1);
}

#[test]
fn signals_without_a_fatal_default_are_given_back_too() {
    let scenario = || async {
        let window = SignalKind::window_change();
        let context = NotifyContext::new([window, SignalKind::child()]).unwrap();
        raise(window.as_raw()).unwrap();
        context.signal().await;
        context.stop();
        raise(window.as_raw()).unwrap();
        raise(SignalKind::child().as_raw()).unwrap();
    };
    if let Some(mut child) = child(scenario) {
        child.succeeds();
    }
}

/// Linux's real-time signals have no name, and no default action that signal-hook knows.
#[test]
#[cfg(target_os = "linux")]
fn real_time_signals_are_caught_and_given_back() {
    const NUMBER: i32 = 37;
    let scenario = || async {
        let context = NotifyContext::new([SignalKind::from_raw(NUMBER)]).unwrap();
        raise(NUMBER).unwrap();
        context.signal().await;
        say(context.signal().cause().unwrap());
        context.stop();
        raise(NUMBER).unwrap();
    };
    let Some(mut child) = child(scenario) else {
        return;
    };
    child.says("signal 37");
    assert_eq!(child.ends().code(), Some(128 + NUMBER));
}

#[test]
fn the_end_of_the_parent_fires() {
    let scenario = || async {
        let gone = ShutdownSignal::parent_gone().unwrap();
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(!gone.has_fired(), "it looked, and the parent was there");
        say("watching");
        tokio::time::timeout(PATIENCE, gone.clone()).await.unwrap();
        say(gone.cause().unwrap());
    };
    if depth() == 1 {
        deeper(&scenario).spawn().unwrap().wait().unwrap();
        return;
    }
    let Some(mut parent) = child(scenario) else {
        return;
    };
    parent.says("watching").send(Signal::KILL);
    parent.ends();
    parent.says("parent process ended");
}
