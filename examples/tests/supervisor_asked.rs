//! What is asked of the worker of a supervisor, and by whom it is done and answered.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::fs;

use rustix::process::Signal;
use support::ctl::Control;
use support::deployed::Deployed;
use support::process::signal;
use support::server::BINARY;
use support::supervised::{children, gone, supervised, supervised_program};
use support::wire::Wire;
use support::{get, post, text, until};

#[tokio::test]
async fn while_a_replaced_worker_drains_operators_are_answered_by_the_next_one() {
    let control = Control::new();
    let mut server = supervised(&["--control", &control.path]).await;
    let supervisor = server.process.first;
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=3000").await;
    server.in_flight(1).await;
    let old = server.pid;
    signal(supervisor, Signal::HUP);
    let new = server.ready(1).await.as_raw_nonzero().get();
    server.process.logged(1, "handed over to a successor").await;
    for _ in 0..30 {
        assert_eq!(control.status().await["pid"], new);
        assert_eq!(server.status().await["pid"], new);
    }
    // It is as much a hand-over as without a supervisor: what is asked of the old one the new one does.
    signal(old, Signal::HUP);
    server.ready(2).await;
    assert!(slow.read_until("ok\n").await.contains("x-generation: 0"));
    gone(old).await;
    signal(supervisor, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
}

#[tokio::test]
async fn a_worker_that_is_asked_passes_a_restart_on_and_may_end_the_service() {
    let mut server = supervised(&[]).await;
    assert_eq!(post(server.admin, "/restart").await.status, 202);
    let second = server.ready(1).await;
    server.signal(Signal::HUP);
    assert_ne!(server.ready(2).await, second);
    gone(second).await;

    server.process.logged(2, "a worker ended").await;
    assert_eq!(post(server.admin, "/drain").await.status, 202);
    assert_eq!(server.process.exit().await, 0);
}

/// Nobody waits for what becomes of a signal, so it is not refused.
#[tokio::test]
async fn a_signal_to_a_worker_while_the_next_one_is_started_is_done_after_it() {
    let mut server = supervised(&["--start-delay", "1s"]).await;
    let (supervisor, worker) = (server.process.first, server.pid);
    server.signal(Signal::HUP);
    until("the next worker is being started", async || {
        children(supervisor).len() == 2
    })
    .await;
    signal(worker, Signal::HUP);
    server.ready(1).await;
    server.ready(2).await;
    signal(supervisor, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
}

/// Whoever asked has the answer of a process that is told to end because of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_asked_of_a_worker_is_answered_with_its_outcome() {
    let control = Control::new();
    let mut server = supervised(&["--control", &control.path]).await;
    for generation in [1, 3, 5] {
        let old = server.pid;
        let ran = control.ctl("restart").await;
        let new = server.ready(generation).await;
        let answer = format!("process {} serves\n", new.as_raw_nonzero());
        assert_eq!((ran.status, ran.out), (0, answer), "{}", ran.err);
        gone(old).await;

        let posted = post(server.admin, "/restart").await;
        let newer = server.ready(generation + 1).await;
        let answer = format!("process {} serves\n", newer.as_raw_nonzero());
        assert_eq!((posted.status.as_u16(), text(&posted)), (202, &*answer));
        gone(new).await;
    }
    signal(server.process.first, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_asked_of_a_worker_that_fails_says_why() {
    let (deployed, control) = (Deployed::new(), Control::new());
    let mut server = supervised_program(&deployed.path, &["--control", &control.path]).await;
    let worker = server.pid;
    deployed.put_script("[ \"$1\" = --help ] && exit 0\nexit 7");
    let failed = control.ctl("restart").await;
    assert_eq!(failed.status, 1, "{failed:?}");
    assert!(failed.err.contains("exit status: 7"), "{failed:?}");
    let refused = post(server.admin, "/restart").await;
    assert_eq!(refused.status, 409);
    assert!(
        text(&refused).contains("exit status: 7"),
        "{}",
        text(&refused)
    );

    // One at a time; and the one that is under way has its own outcome.
    let go = deployed.folder.join("go");
    let waits = format!("until [ -e {} ]; do sleep 0.05; done", go.display());
    let help = "[ \"$1\" = --help ] && exit 0";
    deployed.put_script(&format!("{help}\n{waits}\nexec {BINARY} \"$@\""));
    let (first, ()) = tokio::join!(control.ctl("restart"), async {
        until("the next worker is being started", async || {
            children(server.process.first).len() == 2
        })
        .await;
        let second = control.ctl("restart").await;
        assert_eq!(second.status, 1, "{second:?}");
        assert!(second.err.contains("being started already"), "{second:?}");
        assert_eq!(control.status().await["pid"], worker.as_raw_nonzero().get());
        fs::write(&go, "").unwrap();
    });
    let new = server.ready(1).await;
    assert_eq!(first.status, 0, "{first:?}");
    assert_eq!(
        first.out,
        format!("process {} serves\n", new.as_raw_nonzero())
    );
    gone(worker).await;

    // A stop is an answer, too.
    fs::remove_file(&go).unwrap();
    let (stopped, ()) = tokio::join!(control.ctl("restart"), async {
        until("the next worker is being started", async || {
            children(server.process.first).len() == 2
        })
        .await;
        signal(server.process.first, Signal::TERM);
    });
    assert_eq!(stopped.status, 1, "{stopped:?}");
    assert!(
        stopped.err.contains("the service is stopping"),
        "{stopped:?}"
    );
    assert_eq!(server.process.exit().await, 0);
}

#[tokio::test]
async fn a_canary_beside_a_worker_is_refused() {
    let server = supervised(&[]).await;
    server.signal(Signal::USR2);
    server.process.logged(1, "one that serves at a time").await;
    assert_eq!(get(server.addr, "/").await.generation, Some(0));
    signal(server.process.first, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
}
