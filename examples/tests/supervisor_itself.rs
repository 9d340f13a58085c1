//! What becomes of the supervisor itself: killed, executed anew, process 1 of a container.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod support;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::{Pid, Signal};
use support::deployed::Deployed;
use support::loops::Loops;
use support::process::{Process, scratch, signal};
use support::server::{ANYWHERE, BINARY, Server};
use support::supervised::{children, gone, supervised, supervised_program};
use support::wire::Wire;
use support::{get, post, text, until};

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
