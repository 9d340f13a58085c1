//! The control socket from outside: `gracefulctl` and its exit status, and processes that take over.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::{Pid, Signal};
use support::ctl::{Control, ctl};
use support::loops::Loops;
use support::process::{Process, exit, scratch, signal};
use support::server::{BINARY, Server};
use support::wire::Wire;
use support::{get, text, until};

/// Waits until a process that took over serves; returns where.
async fn serves(process: &mut Process, generation: u32) -> SocketAddr {
    let line = process.line().await;
    let addr = line.strip_prefix("listening ").unwrap().parse().unwrap();
    process.line().await;
    let pid = process.first.as_raw_nonzero();
    let ready = format!("ready pid={pid} generation={generation}");
    assert_eq!(process.line().await, ready);
    addr
}

#[tokio::test]
async fn without_a_server_and_without_sense_the_exit_status_says_so() {
    let control = Control::new();
    let nobody = control.ctl("status").await;
    assert_eq!(nobody.status, 3, "{nobody:?}");
    assert!(nobody.err.contains("no server answers"), "{nobody:?}");
    for nonsense in ["", "dance", "--timeout 5 status", "status --wait"] {
        assert_eq!(control.ctl(nonsense).await.status, 2, "{nonsense}");
    }
    assert_eq!(ctl(&[], "status").await.status, 2);
}

#[tokio::test]
async fn a_stop_is_begun_taken_back_and_waited_for() {
    let control = Control::new();
    let server = control.server(&["--lame-duck", "60s"]).await;
    let status = control.status().await;
    assert_eq!(status["phase"], "serving");
    assert_eq!(status["generation"], 0);
    assert_eq!(status["pid"], server.pid.as_raw_nonzero().get());
    let refused = control.ctl("resume").await;
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("serving"), "{refused:?}");

    // Whoever waits is known as soon as the phase says so, for it was who began it.
    let (waited, ()) = tokio::join!(control.ctl("drain --wait"), async {
        server.entered("lame_duck").await;
        assert_eq!(control.status().await["phase"], "lame_duck");
        assert_eq!(control.ctl("drain").await.status, 1);
        assert_eq!(control.ctl("resume").await.status, 0);
    });
    assert_eq!(waited.status, 1, "{waited:?}");
    assert!(waited.err.contains("taken back"), "{waited:?}");
    until("it serves", async || {
        control.status().await["phase"] == "serving"
    })
    .await;
    assert_eq!(control.ctl("drain").await.status, 0);
}

#[tokio::test]
async fn a_stop_is_waited_for_to_its_end() {
    let control = Control::new();
    let server = control.server(&[]).await;
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=700").await;
    server.in_flight(1).await;
    let (waited, answer) = tokio::join!(control.ctl("drain --wait"), slow.rest());
    assert!(answer.in_order().ends_with("ok\n"));
    assert_eq!(waited.status, 0, "{waited:?}");
    assert!(
        waited.out.contains("cut 0 connections"),
        "the report: {waited:?}"
    );
    assert_eq!(server.exit().await, 0);
    assert_eq!(control.ctl("status").await.status, 3);
    assert!(!Path::new(&control.path).exists());
}

#[tokio::test]
async fn what_is_left_of_a_stop_is_cut_on_command() {
    let control = Control::new();
    let server = control.server(&["--drain", "60s"]).await;
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=60000").await;
    server.in_flight(1).await;
    assert_eq!(control.ctl("drain").await.status, 0);
    until("it drains", async || {
        control.status().await["phase"] == "draining"
    })
    .await;
    assert_eq!(control.status().await["in_flight"], 1);
    assert_eq!(control.ctl("cutoff").await.status, 0);
    assert_eq!(server.exit().await, 1, "something was cut");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_that_fails_says_why_and_one_that_works_is_over_when_it_is_said() {
    let folder = scratch();
    let program = folder.join("server");
    let put = |script: &str| {
        let next = folder.join("next");
        fs::write(&next, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&next, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(next, &program).unwrap();
    };
    fs::copy(BINARY, &program).unwrap();
    let control = Control::new();
    let flags = ["--control", &control.path, "--ready-timeout", "10s"];
    let mut server = Server::start_program(&program, &flags).await;
    let loops = Loops::fresh(server.addr);

    put("exit 7");
    let failed = control.ctl("restart").await;
    assert_eq!(failed.status, 1, "{failed:?}");
    assert!(failed.err.contains("exit status: 7"), "{failed:?}");
    assert_eq!(control.status().await["generation"], 0);
    loops.answer(200).await;

    let go = folder.join("go");
    let waits = format!("until [ -e {} ]; do sleep 0.05; done", go.display());
    put(&format!("{waits}\nexec {BINARY} \"$@\""));
    let late = control.ctl("--timeout 100ms restart").await;
    assert_eq!(late.status, 1, "{late:?}");
    assert!(late.err.contains("did not answer"), "{late:?}");
    assert_eq!(control.ctl("restart").await.status, 1, "one at a time");
    // It goes on nevertheless.
    fs::write(go, "").unwrap();
    server.ready(1).await;

    let restarted = control.ctl("restart").await;
    assert_eq!(restarted.status, 0, "{restarted:?}");
    let status = control.status().await;
    assert_eq!(status["generation"], 2);
    assert_eq!(restarted.out, format!("process {} serves\n", status["pid"]));
    server.ready(2).await;
    loops.answer(200).await;
    loops.stop().await.assert_all_answered();
    assert_eq!(server.process.exit().await, 0);
    let _ = fs::remove_dir_all(folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_takeovers_under_load_refuse_nobody_and_lose_nothing() {
    let control = Control::new();
    let server = control.server(&[]).await;
    let addr = server.addr;
    let (kept, fresh) = (Loops::keep_alive(addr), Loops::fresh(addr));
    let mut serving = server.process;
    for generation in 1..=5 {
        fresh.answer(200).await;
        let mut next = control.candidate(&[]);
        assert_eq!(serves(&mut next, generation).await, addr);
        kept.answer(200).await;
        assert_eq!(serving.exit().await, 0);
        serving = next;
    }
    kept.stop().await.assert_all_answered();
    fresh.stop().await.assert_all_answered();
    assert_eq!(control.ctl("drain --wait").await.status, 0);
    assert_eq!(serving.exit().await, 0);
}

#[tokio::test]
async fn a_process_that_fails_after_it_asked_or_dies_after_it_took_over_costs_nothing() {
    let control = Control::new();
    let mut server = control.server(&[]).await;
    let broken = control.candidate(&["--journal", "/nowhere/journal"]);
    assert_eq!(broken.exit().await, 3);
    server.process.logged(1, "restart failed").await;
    assert_eq!(get(server.addr, "/").await.generation, Some(0));

    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=3000").await;
    server.in_flight(1).await;
    let mut next = control.candidate(&[]);
    assert_eq!(serves(&mut next, 1).await, server.addr);
    signal(next.first, Signal::KILL);
    let first = server.pid;
    assert_eq!(server.ready(0).await, first);
    assert_eq!(get(server.addr, "/").await.generation, Some(0));
    assert_eq!(control.status().await["generation"], 0);
    assert!(slow.read_until("ok\n").await.contains("200 OK"));

    let mut next = control.candidate(&[]);
    serves(&mut next, 1).await;
    assert_eq!(server.process.exit().await, 0);
    // It restarts itself, with the same command line.
    assert_eq!(control.ctl("restart").await.status, 0);
    assert_eq!(next.exit().await, 0);
    let here = get(server.addr, "/").await;
    assert_eq!(here.generation, Some(2));
    let pid = text(&here)
        .strip_prefix("pid=")
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let last = Pid::from_raw(pid.parse().unwrap()).unwrap();
    assert_eq!(control.ctl("drain --wait").await.status, 0);
    assert_eq!(exit(last).await, 0);
}

/// Its addresses are wrong, but for those of the operators: with it nobody would serve.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_claims_no_service_listener_does_not_take_over() {
    let control = Control::new();
    let server = control.server(&[]).await;
    let loops = Loops::fresh(server.addr);
    let admin = server.admin.to_string();
    for (nth, admin) in [&*admin, "127.0.0.2:0"].iter().enumerate() {
        let flags = "--listen 127.0.0.2:0 --takeover --admin";
        let args: Vec<_> = flags
            .split(' ')
            .chain([*admin, "--control", &control.path])
            .collect();
        let wrong = Process::start(BINARY.as_ref(), &args);
        assert_eq!(wrong.exit().await, 3);
        assert!(wrong.log().contains("claims none"), "{}", wrong.log());
        server.process.logged(nth + 1, "claims none").await;
        assert_eq!(control.status().await["generation"], 0);
        loops.answer(100).await;
    }
    let mut next = control.candidate(&[]);
    serves(&mut next, 1).await;
    loops.answer(100).await;
    loops.stop().await.assert_all_answered();
    assert_eq!(server.process.exit().await, 0);
}

#[tokio::test]
async fn with_nobody_to_take_over_from_a_process_is_the_first() {
    let control = Control::new();
    let mut first = control.candidate(&[]);
    serves(&mut first, 0).await;
    // A second one without the flag would be a rival.
    let rival = ["--listen", "127.0.0.1:0", "--control", &control.path];
    assert_eq!(Process::start(BINARY.as_ref(), &rival).exit().await, 3);
    signal(first.first, Signal::KILL);
    assert_eq!(first.exit().await, -9);
    assert_eq!(
        control.ctl("status").await.status,
        3,
        "the path is there, and nobody behind it"
    );
    let mut next = control.candidate(&[]);
    serves(&mut next, 0).await;
    assert_eq!(
        control.status().await["pid"],
        next.first.as_raw_nonzero().get()
    );
}
