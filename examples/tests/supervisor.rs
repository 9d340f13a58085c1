//! `--supervise`: one process number for all generations, whatever becomes of them.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod support;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::{Pid, Signal};
use support::ctl::Control;
use support::deployed::Deployed;
use support::loops::{LOOPS, Loops};
use support::process::{Process, scratch, signal};
use support::server::{ANYWHERE, BINARY, Server};
use support::wire::Wire;
use support::{get, post, text, until};

async fn supervised(flags: &[&str]) -> Server {
    supervised_program(BINARY.as_ref(), flags).await
}

async fn supervised_program(program: &Path, flags: &[&str]) -> Server {
    let args = [&["--supervise"], &ANYWHERE[..], flags].concat();
    let server = Server::run_others(program, &args, 0).await;
    assert_ne!(server.pid, server.process.first);
    server
}

/// The supervisor reaps it, so it is seen to be gone.
async fn gone(pid: Pid) {
    let path = format!("/proc/{}", pid.as_raw_nonzero());
    until(&format!("the end of process {pid:?}"), async || {
        !Path::new(&path).exists()
    })
    .await;
}

/// `pid (name) state parent …` of all processes.
fn children(parent: Pid) -> Vec<(Pid, String)> {
    let stats = fs::read_dir("/proc").unwrap().flatten();
    let stats = stats.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let child = |stat: String| {
        let pid = stat.split(' ').next()?.parse().ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.to_owned();
        let is_child = fields.next()? == parent.as_raw_nonzero().to_string();
        is_child.then_some((Pid::from_raw(pid)?, state))
    };
    stats.filter_map(child).collect()
}

fn zombies(parent: Pid) -> usize {
    let all = children(parent);
    all.iter().filter(|(_, state)| state == "Z").count()
}

fn descriptors(pid: Pid) -> usize {
    let folder = format!("/proc/{}/fd", pid.as_raw_nonzero());
    fs::read_dir(folder).unwrap().count()
}

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

/// Its worker serves on, and whoever restarts the supervisor has the next one take over from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_supervisor_is_killed_the_next_one_takes_over_from_its_worker() {
    let folder = scratch();
    let control = folder.join("control");
    let flags = ["--control", control.to_str().unwrap(), "--takeover"];
    let mut server = supervised(&flags).await;
    let (kept, fresh) = (Loops::keep_alive(server.addr), Loops::fresh(server.addr));
    for generation in 1..=3 {
        let orphan = server.pid;
        fresh.answer(200).await;
        signal(server.process.first, Signal::KILL);
        assert_eq!(server.process.exit().await, -9);
        kept.answer(200).await;
        let args = [&["--supervise"], &ANYWHERE[..], &flags].concat();
        let next = Server::run_others(BINARY.as_ref(), &args, generation).await;
        assert_eq!((next.addr, next.admin), (server.addr, server.admin));
        fresh.answer(200).await;
        assert_eq!(support::process::exit(orphan).await, 0);
        server = next;
    }
    kept.stop().await.assert_all_answered();
    fresh.stop().await.assert_all_answered();
    signal(server.process.first, Signal::HUP);
    server.ready(4).await;
    signal(server.process.first, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
    assert!(!control.exists(), "its path is the last one's to remove");
    let _ = fs::remove_dir_all(folder);
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

/// Before COMMIT the old worker serves on and the new one ends; after it the new one serves, and whoever asks at the control
/// socket asks that one, though the old one still drains. Never both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_supervisor_is_killed_in_a_restart_one_worker_serves_and_hands_over() {
    let folder = scratch();
    let control = folder.join("control");
    let control = ["--control", control.to_str().unwrap(), "--takeover"];
    let flags = [&control[..], &["--start-delay", "500ms"]].concat();
    let next = [&["--supervise"], &ANYWHERE[..], &control].concat();

    let server = supervised(&flags).await;
    let fresh = Loops::fresh(server.addr);
    let (supervisor, old) = (server.process.first, server.pid);
    signal(supervisor, Signal::HUP);
    let new = other_worker(supervisor, old).await;
    signal(supervisor, Signal::KILL);
    assert_eq!(server.process.exit().await, -9);
    assert_eq!(support::process::exit(new).await, 3);
    fresh.answer(200).await;
    let mut second = Server::run_others(BINARY.as_ref(), &next, 1).await;
    assert_eq!(support::process::exit(old).await, 0);

    let (supervisor, old) = (second.process.first, second.pid);
    let mut slow = Wire::open(second.addr).await;
    slow.get("/slow?ms=60000").await;
    second.in_flight(1).await;
    signal(supervisor, Signal::HUP);
    let new = second.ready(2).await;
    second.entered("draining").await;
    signal(supervisor, Signal::KILL);
    assert_eq!(second.process.exit().await, -9);
    let third = Server::run_others(BINARY.as_ref(), &next, 3).await;
    assert_eq!(support::process::exit(new).await, 0);
    fresh.answer(200).await;
    fresh.stop().await.assert_all_answered();
    drop(slow);
    assert_eq!(support::process::exit(old).await, 0);
    signal(third.process.first, Signal::TERM);
    assert_eq!(third.process.exit().await, 0);
    let _ = fs::remove_dir_all(folder);
}

/// A worker beside the one that serves, once its program runs, which is not the one that is asked whether it can say
/// something.
async fn other_worker(supervisor: Pid, serving: Pid) -> Pid {
    let is_worker = |pid: &Pid| {
        let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()));
        environment.is_ok_and(|all| String::from_utf8_lossy(&all).contains(";worker="))
    };
    let mut other = None;
    until("a second worker", async || {
        let others = children(supervisor).into_iter().map(|(pid, _)| pid);
        other = others.filter(|pid| *pid != serving).find(is_worker);
        other.is_some()
    })
    .await;
    other.unwrap()
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_supervisor_is_upgraded_in_place_and_nobody_notices() {
    let deployed = Deployed::new();
    let mut server = supervised_program(&deployed.path, &[]).await;
    let (supervisor, worker) = (server.process.first, server.pid);
    let program = format!("/proc/{}/exe", supervisor.as_raw_nonzero());
    let (kept, fresh) = (Loops::keep_alive(server.addr), Loops::fresh(server.addr));
    for nth in 1..=3 {
        deployed.put(Path::new(BINARY));
        assert_ne!(
            fs::read_link(&program).unwrap(),
            deployed.path,
            "it is the one before"
        );
        fresh.answer(200).await;
        signal(supervisor, Signal::USR2);
        server.process.logged(nth, "was executed anew").await;
        assert_eq!(fs::read_link(&program).unwrap(), deployed.path);
        kept.answer(200).await;
        assert_eq!(server.status().await["pid"], worker.as_raw_nonzero().get());
    }

    // One that cannot be executed, or says nothing, is not executed.
    fs::remove_file(&deployed.path).unwrap();
    signal(supervisor, Signal::USR2);
    server.process.logged(1, "was not executed anew").await;
    deployed.put_script("exit 7");
    signal(supervisor, Signal::USR2);
    server.process.logged(2, "was not executed anew").await;
    fresh.answer(200).await;

    // The worker from before is its child still: it is replaced, reaped, and its status known.
    deployed.put(Path::new(BINARY));
    signal(supervisor, Signal::HUP);
    let second = server.ready(1).await;
    gone(worker).await;
    signal(supervisor, Signal::USR2);
    server.process.logged(4, "was executed anew").await;
    kept.stop().await.assert_all_answered();
    fresh.stop().await.assert_all_answered();
    signal(second, Signal::KILL);
    let third = server.ready(2).await;
    let left = children(supervisor);
    assert!(left.len() == 1 && left[0].0 == third, "{left:?}");
    signal(supervisor, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
}

#[tokio::test]
async fn the_path_of_a_unix_listener_outlives_every_worker_and_goes_at_the_stop() {
    let folder = scratch();
    let path = folder.join("socket");
    let flag = format!("unix:{}", path.display());
    let mut process = Process::start(BINARY.as_ref(), &["--supervise", "--listen", &flag]);
    let supervisor = process.first;
    for generation in 0..=2 {
        assert_eq!(process.line().await, format!("listening {flag}"));
        let ready = process.line().await;
        assert!(
            ready.ends_with(&format!(" generation={generation}")),
            "{ready}"
        );
        until("one worker", async || children(supervisor).len() == 1).await;
        UnixStream::connect(&path).unwrap();
        let next = if generation < 2 {
            Signal::HUP
        } else {
            Signal::TERM
        };
        signal(supervisor, next);
    }
    assert_eq!(process.exit().await, 0);
    assert!(!path.exists());
    let _ = fs::remove_dir_all(folder);
}

/// A PID namespace of its own, or the reason why there is none.
fn may_unshare() -> bool {
    let tried = std::process::Command::new("unshare")
        .args(["-p", "-f", "--mount-proc", "true"])
        .output();
    let may = tried.as_ref().is_ok_and(|tried| tried.status.success());
    if !may {
        eprintln!("SKIPPED: unshare -p -f --mount-proc: {tried:?}");
    }
    may
}

/// The server as PID 1, and its number out here.
async fn first_process(flags: &[&str]) -> (Server, Pid) {
    let unshare = ["-p", "-f", "--mount-proc", BINARY];
    let args = [&unshare, &ANYWHERE, flags].concat();
    let server = Server::run_others("unshare".as_ref(), &args, 0).await;
    let (init, _) = children(server.process.first)[0];
    (server, init)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_the_first_process_it_restarts_reaps_orphans_and_stops() {
    if !may_unshare() {
        return;
    }
    let (mut server, init) = first_process(&["--supervise"]).await;
    let loops = Loops::fresh(server.addr);
    for generation in 1..=3 {
        signal(init, Signal::HUP);
        server.ready(generation).await;
        loops.answer(200).await;
    }
    loops.stop().await.assert_all_answered();
    // The shell ends at once, and its children find a new parent in PID 1.
    let target = init.as_raw_nonzero().to_string();
    let orphans = "for n in 1 2 3 4 5; do sleep 0.2 & done";
    let entered = std::process::Command::new("nsenter")
        .args(["-t", &target, "-p", "-m", "sh", "-c", orphans])
        .status();
    assert!(entered.unwrap().success());
    until("the orphans have come", async || children(init).len() > 1).await;
    until("the orphans are reaped", async || children(init).len() == 1).await;
    assert_eq!(get(server.addr, "/").await.generation, Some(3));
    signal(init, Signal::USR2);
    server.process.logged(1, "was executed anew").await;
    assert_eq!(get(server.addr, "/").await.generation, Some(3));
    signal(init, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
}

#[tokio::test]
async fn without_it_the_first_process_says_what_to_do_instead() {
    if !may_unshare() {
        return;
    }
    let (server, init) = first_process(&[]).await;
    let refused = post(server.admin, "/restart").await;
    assert_eq!(refused.status, 409);
    for way in ["PID 1", "`--supervise`", "`take_over`"] {
        assert!(text(&refused).contains(way), "{}", text(&refused));
    }
    assert_eq!(get(server.addr, "/").await.generation, Some(0));
    signal(init, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
}
