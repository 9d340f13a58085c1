//! Which process seals its listener at the final stop, as the log says: the last one to have it, and no other (law 8).

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]
#![cfg(target_os = "linux")]

mod support;

use std::path::Path;

use rustix::process::Signal;
use support::process::{Process, signal};
use support::server::{ANYWHERE, BINARY, Server};
use support::wire::Wire;
use support::{post, until};

/// A server that says what became of its queues.
async fn talkative(flags: &[&str]) -> Server {
    let script = format!("RUST_LOG=info,graceful_server=debug exec {BINARY} \"$@\"");
    let args = [&["-c", &script, "sh"], flags, &ANYWHERE].concat();
    Server::run_others(Path::new("/bin/sh"), &args, 0).await
}

/// What the last stop said of the listener that clients come to.
async fn sealed(process: &Process) -> bool {
    let mut said = None;
    until("the queue is swept", async || {
        let log = process.log();
        let swept = |line: &&str| line.contains("accept queue swept") && line.contains(ANYWHERE[1]);
        said = log
            .lines()
            .find(swept)
            .map(|line| line.contains("sealed=true"));
        said.is_some()
    })
    .await;
    said.unwrap()
}

#[tokio::test]
async fn a_server_seals_what_it_bound_and_what_it_was_the_last_to_be_given() {
    let server = talkative(&[]).await;
    server.signal(Signal::TERM);
    assert!(sealed(&server.process).await);

    let mut server = talkative(&[]).await;
    for generation in 1..=3 {
        let before = server.pid;
        server.signal(Signal::HUP);
        server.ready(generation).await;
        assert_eq!(support::process::exit(before).await, 0);
    }
    server.signal(Signal::TERM);
    assert!(sealed(&server.process).await);
}

#[tokio::test]
async fn a_server_that_has_dismissed_a_canary_seals_as_before() {
    let server = talkative(&[]).await;
    server.signal(Signal::USR2);
    server.process.logged(1, "serves beside this process").await;
    server.signal(Signal::TERM);
    // Its two listeners; those of the canary are not.
    server.process.logged(2, "sealed=true").await;
    assert_eq!(server.exit().await, 0);
    assert_eq!(server.process.log().matches("sealed=true").count(), 2);
}

#[tokio::test]
async fn a_server_does_not_seal_what_its_predecessor_still_may_take_back() {
    let mut server = talkative(&[]).await;
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=3000").await;
    server.in_flight(1).await;
    server.signal(Signal::HUP);
    server.ready(1).await;
    server.signal(Signal::TERM);
    assert!(!sealed(&server.process).await);
    assert!(slow.rest().await.in_order().ends_with("ok\n"));
}

/// The supervisor, and whether its worker has sealed.
async fn stopped(server: &Server) -> bool {
    signal(server.process.first, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
    sealed(&server.process).await
}

#[tokio::test]
async fn the_worker_of_a_supervisor_that_stops_seals_before_and_after_restarts_and_upgrades() {
    let server = talkative(&["--supervise"]).await;
    assert!(stopped(&server).await);

    let mut server = talkative(&["--supervise"]).await;
    let supervisor = server.process.first;
    for (nth, generation) in [(1, 1), (2, 2)] {
        signal(supervisor, Signal::HUP);
        server.ready(generation).await;
        server.process.logged(nth, "a worker ended").await;
        signal(supervisor, Signal::USR2);
        server.process.logged(nth, "was executed anew").await;
    }
    assert!(stopped(&server).await);
}

#[tokio::test]
async fn a_worker_does_not_seal_while_the_one_before_it_drains() {
    let mut server = talkative(&["--supervise"]).await;
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=3000").await;
    server.in_flight(1).await;
    signal(server.process.first, Signal::HUP);
    server.ready(1).await;
    assert!(!stopped(&server).await);
    assert!(slow.rest().await.in_order().ends_with("ok\n"));
}

/// What it had begun by then, such as letting somebody in at its control socket, nobody knows.
#[tokio::test]
async fn a_worker_does_not_seal_after_one_before_it_was_killed() {
    let mut server = talkative(&["--supervise"]).await;
    server.signal(Signal::KILL);
    server.ready(1).await;
    assert!(!stopped(&server).await);
}

#[tokio::test]
async fn a_worker_that_is_stopped_behind_the_supervisors_back_does_not_seal() {
    let server = talkative(&["--supervise"]).await;
    assert_eq!(post(server.admin, "/drain").await.status, 202);
    assert!(!sealed(&server.process).await);
    assert_eq!(server.process.exit().await, 0);
}
