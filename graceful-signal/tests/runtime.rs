//! What the crate asks of the runtime, and what it leaves in it.

use std::error::Error;
use std::future::pending;
use std::io;

use graceful_signal::{NotifyContext, ShutdownSignal, SignalKind, on_signal};
use tokio::runtime::Handle;
use tokio::task::yield_now;

/// Every constructor that can fail, with what it is made of gone at once.
fn attempts() -> Vec<(&'static str, io::Result<()>)> {
    vec![
        ("terminate", ShutdownSignal::terminate().map(drop)),
        (
            "notify",
            ShutdownSignal::notify([SignalKind::interrupt()]).map(drop),
        ),
        (
            "context",
            NotifyContext::new([SignalKind::interrupt()]).map(drop),
        ),
        ("hook", on_signal(SignalKind::interrupt(), || ()).map(drop)),
        ("file", ShutdownSignal::file("here").map(drop)),
        #[cfg(unix)]
        ("parent_gone", ShutdownSignal::parent_gone().map(drop)),
    ]
}

#[test]
fn outside_a_runtime_every_constructor_is_an_error_with_advice() {
    for (name, outcome) in attempts() {
        let error = outcome.expect_err(name);
        assert!(
            error.to_string().contains("no tokio runtime here"),
            "{name}: {error}"
        );
        // An `io::Error` hands its own source on to what it wraps.
        assert!(error.source().is_some(), "{name}");
    }
}

#[test]
#[cfg(unix)] // On Windows signals need no driver.
fn without_drivers_every_constructor_is_an_error_with_advice() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    for (name, outcome) in attempts() {
        let error = outcome.expect_err(name);
        assert!(
            error.to_string().contains("build it with enable_all()"),
            "{name}: {error}"
        );
    }
}

#[test]
#[should_panic = "there is no reactor running"]
fn from_future_panics_outside_a_runtime() {
    drop(ShutdownSignal::from_future(pending::<()>()));
}

/// Waits, in turns of the runtime and not in time, until `alive` tasks are left.
async fn settles_at(alive: usize) {
    for _ in 0..1_000 {
        if Handle::current().metrics().num_alive_tasks() == alive {
            return;
        }
        yield_now().await;
    }
    panic!(
        "{} tasks alive, not {alive}",
        Handle::current().metrics().num_alive_tasks()
    );
}

#[tokio::test]
async fn the_task_of_a_source_ends_with_its_last_handle() {
    settles_at(0).await;
    let sources = [
        ShutdownSignal::terminate().unwrap(),
        NotifyContext::new([SignalKind::interrupt()])
            .unwrap()
            .signal(),
        ShutdownSignal::file("nothing-of-this-name").unwrap(),
        ShutdownSignal::from_future(pending::<()>()),
        #[cfg(unix)]
        ShutdownSignal::parent_gone().unwrap(),
    ];
    let tasks = sources.len();
    let hook = on_signal(SignalKind::interrupt(), || ()).unwrap();
    settles_at(tasks + 1).await;

    let handles = sources.clone();
    drop(sources);
    settles_at(tasks + 1).await;
    drop(handles);
    settles_at(1).await;
    drop(hook);
    settles_at(0).await;
}

#[tokio::test]
async fn the_task_of_a_source_that_fired_once_ends() {
    let signal = ShutdownSignal::from_future(async {});
    signal.clone().await;
    settles_at(0).await;
}

#[tokio::test]
async fn the_task_of_a_stopped_context_ends() {
    let context = NotifyContext::new([SignalKind::interrupt()]).unwrap();
    settles_at(1).await;
    context.stop();
    settles_at(0).await;
}
