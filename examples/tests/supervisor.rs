//! `--supervise`: one process number for all generations. Its workers: restarted, failing, crashing, hanging, stopped.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use support::deployed::Deployed;
use support::loops::{LOOPS, Loops};
use support::process::{Process, signal};
use support::server::{ANYWHERE, BINARY};
use support::supervised::{children, descriptors, gone, supervised, supervised_program, zombies};
use support::wire::Wire;
use support::{get, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_restarts_under_load_keep_the_supervisor_and_lose_nothing() {
    let mut server = supervised(&[]).await;
    let supervisor = server.process.first;
    let (kept, fresh) = (Loops::keep_alive(server.addr), Loops::fresh(server.addr));
    for generation in 1..=5 {
        let old = server.pid;
        fresh.answer(200).await;
        signal(supervisor, Signal::HUP);
        assert_ne!(server.ready(generation).await, old);
        kept.answer(200).await;
        gone(old).await;
    }
    kept.stop().await.assert_all_answered();
    fresh.stop().await.assert_all_answered();
    signal(supervisor, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
}

#[tokio::test]
async fn twenty_restarts_leave_no_zombie_and_no_descriptor() {
    let mut server = supervised(&[]).await;
    let supervisor = server.process.first;
    let mut open = 0;
    for generation in 1..=20 {
        let old = server.pid;
        signal(supervisor, Signal::HUP);
        server.ready(generation).await;
        gone(old).await;
        match generation {
            1 => open = descriptors(supervisor),
            _ => {
                until("no descriptor more", async || {
                    descriptors(supervisor) <= open
                })
                .await;
            }
        }
    }
    let left = children(supervisor);
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].0, server.pid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_fails_to_start_changes_nothing() {
    let deployed = Deployed::new();
    let mut server = supervised_program(&deployed.path, &["--ready-timeout", "2s"]).await;
    let (supervisor, worker) = (server.process.first, server.pid);
    let loops = Loops::fresh(server.addr);
    let help = "[ \"$1\" = --help ] && exit 0";
    let failures = ["exit 7", "exec sleep 300", "exec /nowhere/program"];
    for (nth, script) in failures.iter().enumerate() {
        deployed.put_script(&format!("{help}\n{script}"));
        signal(supervisor, Signal::HUP);
        server.process.logged(nth + 1, "no new worker").await;
        loops.answer(200).await;
    }
    deployed.put_script("exit 7");
    signal(supervisor, Signal::HUP);
    server.process.logged(4, "no new worker").await;
    assert_eq!(server.status().await["pid"], worker.as_raw_nonzero().get());

    deployed.put(Path::new(BINARY));
    signal(supervisor, Signal::HUP);
    server.ready(1).await;
    loops.answer(200).await;
    loops.stop().await.assert_all_answered();
    gone(worker).await;
    assert_eq!(zombies(supervisor), 0);
}

/// Whoever sends it has deployed something meanwhile: here what mends the worker under way.
#[tokio::test]
async fn a_signal_while_a_worker_is_started_is_done_after_it() {
    let deployed = Deployed::new();
    let mut server = supervised_program(&deployed.path, &[]).await;
    let supervisor = server.process.first;
    let go = deployed.folder.join("go");
    let waits = format!("until [ -e {} ]; do sleep 0.05; done", go.display());
    let help = "[ \"$1\" = --help ] && exit 0";
    deployed.put_script(&format!("{help}\n{waits}\nexit 7"));
    signal(supervisor, Signal::HUP);
    until("the next worker is being started", async || {
        children(supervisor).len() == 2
    })
    .await;
    deployed.put(Path::new(BINARY));
    signal(supervisor, Signal::HUP);
    fs::write(&go, "").unwrap();
    server.process.logged(1, "no new worker").await;
    server.ready(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_worker_is_killed_clients_wait_for_the_next_one() {
    let mut server = supervised(&[]).await;
    let supervisor = server.process.first;
    let loops = Loops::fresh(server.addr);
    for generation in 1..=3 {
        loops.answer(200).await;
        server.signal(Signal::KILL);
        server.ready(generation).await;
        loops.answer(200).await;
    }
    let tally = loops.stop().await;
    // What a killed process had accepted is gone with it: of each loop one request at the most.
    let lost: u64 = tally.lost.values().sum();
    assert_eq!(tally.refused, 0, "{tally:?}");
    assert!(lost <= 3 * LOOPS as u64, "{tally:?}");
    signal(supervisor, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
}

/// It still drains, and has kept the listeners: nobody has to wait for the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_next_worker_dies_the_one_before_serves_again_until_there_is_another() {
    let deployed = Deployed::new();
    let mut server = supervised_program(&deployed.path, &[]).await;
    let (supervisor, old) = (server.process.first, server.pid);
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=4000").await;
    server.in_flight(1).await;
    signal(supervisor, Signal::HUP);
    let dead = server.ready(1).await;
    deployed.put_script("exit 7");
    signal(dead, Signal::KILL);
    server.serves_again(old).await;
    server.process.logged(1, "the worker serves again").await;
    server.process.logged(1, "no new worker").await;
    let fresh = Loops::fresh(server.addr);
    fresh.answer(200).await;
    assert_eq!(get(server.addr, "/").await.generation, Some(0));
    deployed.put(Path::new(BINARY));
    signal(supervisor, Signal::HUP);
    server.ready(2).await;
    fresh.answer(200).await;
    let answer = slow.read_until("ok\n").await;
    assert!(answer.contains("x-generation: 0"), "{answer}");
    fresh.stop().await.assert_all_answered();
    gone(old).await;
    signal(supervisor, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
}

/// Each has a request that outlasts the test, and time for it.
#[tokio::test]
async fn of_four_workers_that_drain_the_oldest_is_cut() {
    let mut server = supervised(&["--drain", "300s"]).await;
    let (mut pids, mut slow) = (vec![server.pid], Vec::new());
    for generation in 1..=4 {
        let mut wire = Wire::open(server.addr).await;
        wire.get("/slow?ms=250000").await;
        server.in_flight(1).await;
        slow.push(wire);
        signal(server.process.first, Signal::HUP);
        pids.push(server.ready(generation).await);
        let handed_over = "handed over to a successor";
        server
            .process
            .logged(generation as usize, handed_over)
            .await;
    }
    assert!(slow.remove(0).rest().await.in_order().contains(" 503 "));
    gone(pids[0]).await;
    for (pid, wire) in pids[1..].iter().zip(&slow) {
        let stirs = wire
            .stirs_within(std::time::Duration::from_millis(50))
            .await;
        assert!(!stirs, "{pid:?} was cut");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_hangs_is_replaced_without_its_state() {
    let mut server = supervised(&[]).await;
    let (supervisor, old) = (server.process.first, server.pid);
    signal(old, Signal::STOP);
    signal(supervisor, Signal::HUP);
    server.process.logged(1, "starts without the state").await;
    server.ready(1).await;
    let fresh = Loops::fresh(server.addr);
    signal(old, Signal::CONT);
    gone(old).await;
    fresh.answer(200).await;
    fresh.stop().await.assert_all_answered();
    signal(supervisor, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
}

/// The configuration cannot be used, which only a worker finds.
#[tokio::test]
async fn a_first_worker_that_cannot_start_ends_the_supervisor_with_its_status() {
    let missing = ["--tls-cert", "/missing", "--tls-key", "/missing"];
    let args = [&["--supervise"], &ANYWHERE[..], &missing].concat();
    let process = Process::start(BINARY.as_ref(), &args);
    assert_eq!(process.exit().await, 3);
    assert_eq!(process.log().matches("no new worker").count(), 1);
}

#[tokio::test]
async fn in_a_crash_loop_clients_queue_and_are_served_when_it_is_over() {
    let deployed = Deployed::new();
    let mut server = supervised_program(&deployed.path, &[]).await;
    let supervisor = server.process.first;
    deployed.put_script("exit 7");
    server.signal(Signal::KILL);
    server.process.logged(3, "no new worker").await;
    let mut queued = Vec::new();
    for _ in 0..10 {
        let mut client = Wire::open(server.addr).await;
        client.get("/ping").await;
        queued.push(client);
    }
    server.process.logged(5, "no new worker").await;
    let log = server.process.log();
    for pause in [100, 200, 400, 800] {
        assert!(log.contains(&format!("pause_ms={pause}\n")), "{pause}");
    }
    deployed.put(Path::new(BINARY));
    server.ready(1).await;
    for client in &mut queued {
        assert!(client.read_until("ok\n").await.contains("200 OK"));
    }
    drop(queued);
    signal(supervisor, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
}

#[tokio::test]
async fn a_stop_drains_the_worker_and_has_its_exit_status() {
    let mut server = supervised(&[]).await;
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=700").await;
    server.in_flight(1).await;
    signal(server.process.first, Signal::TERM);
    server.entered("draining").await;
    signal(server.process.first, Signal::HUP);
    server.process.logged(1, "stopping, not restarting").await;
    assert!(slow.rest().await.in_order().ends_with("ok\n"));
    assert_eq!(server.process.exit().await, 0);
    let log = server.process.log();
    assert!(!log.contains("ERROR"), "{log}");
    assert!(log.contains("serving for the supervisor") && !log.contains("predecessor"));
    let refused = tokio::net::TcpStream::connect(server.addr).await;
    refused.unwrap_err();

    server = supervised(&["--drain", "300ms"]).await;
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=60000").await;
    server.in_flight(1).await;
    signal(server.process.first, Signal::INT);
    assert_eq!(server.process.exit().await, 1, "something was cut");

    server = supervised(&["--drain", "60s"]).await;
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=60000").await;
    server.in_flight(1).await;
    signal(server.process.first, Signal::TERM);
    server.entered("draining").await;
    server.signal(Signal::KILL);
    assert_eq!(server.process.exit().await, 128 + 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_loses_nothing() {
    let server = supervised(&[]).await;
    let (kept, fresh) = (Loops::keep_alive(server.addr), Loops::fresh(server.addr));
    fresh.answer(500).await;
    signal(server.process.first, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
    kept.ended().await.assert_nothing_lost();
    fresh.ended().await.assert_nothing_lost();
}

/// The one that was replaced has been told to drain; the stop of the service does not hurry it.
#[tokio::test]
async fn a_stop_does_not_cut_what_a_replaced_worker_still_serves() {
    let mut server = supervised(&[]).await;
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=2000").await;
    server.in_flight(1).await;
    signal(server.process.first, Signal::HUP);
    server.ready(1).await;
    signal(server.process.first, Signal::TERM);
    let answer = slow.rest().await.in_order();
    assert!(
        answer.ends_with("ok\n") && answer.contains("x-generation: 0"),
        "{answer}"
    );
    assert_eq!(server.process.exit().await, 0);
}

/// It is not stopped: somebody serves in its place.
#[tokio::test]
async fn a_worker_that_is_replaced_drains_as_after_a_hand_over_without_lame_duck() {
    let mut server = supervised(&["--lame-duck", "600s"]).await;
    let old = server.pid;
    signal(server.process.first, Signal::HUP);
    server.ready(1).await;
    gone(old).await;
    let log = server.process.log();
    assert!(
        log.contains("handed over:") && !log.contains("phase=\"lame_duck\""),
        "{log}"
    );
}

#[tokio::test]
async fn other_signals_are_passed_on() {
    let server = supervised(&[]).await;
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=60000").await;
    server.in_flight(1).await;
    signal(server.process.first, Signal::USR1);
    server.process.logged(1, "1 connections of pid=").await;
    signal(server.process.first, Signal::QUIT);
    assert_eq!(server.process.exit().await, 1, "something was cut");
}
