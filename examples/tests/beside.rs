//! A successor beside the old process: both serve, until it is decided who goes on.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::fs;
use std::net::SocketAddr;

use rustix::process::{Pid, Signal};
use support::loops::Loops;
use support::process::{scratch, signal};
use support::server::Server;
use support::wire::Wire;
use support::{BOUND, get, until};

/// The server, with a successor that serves beside it, and its pid file.
struct Pair {
    server: Server,
    old: Pid,
    new: Pid,
    pid_file: std::path::PathBuf,
}

impl Pair {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(flags: &[&str]) -> Self {
        let folder = scratch();
        fs::create_dir_all(&folder).unwrap();
        let (pid_file, control) = (folder.join("pid"), folder.join("control"));
        let names = [&pid_file, &control].map(|path| path.to_str().unwrap());
        let named = ["--pid-file", names[0], "--control", names[1]];
        let mut server = Server::start(&[&named, flags].concat()).await;
        let old = server.pid;
        server.signal(Signal::USR2);
        let new = server.ready(1).await;
        Self {
            server,
            old,
            new,
            pid_file,
        }
    }

    /// At the control socket and at the operators' listener this process answers, many times in a row.
    async fn operated_by(&self, pid: Pid) {
        let expected = u64::from(pid.as_raw_nonzero().get().unsigned_abs());
        for _ in 0..50 {
            let answer: serde_json::Value =
                serde_json::from_str(&self.command("status").await).unwrap();
            assert_eq!(answer["pid"], expected);
            let canary = answer
                .get("beside")
                .is_none_or(|beside| *beside == self.new.as_raw_nonzero().get());
            assert!(canary, "{answer}");
            let shown = self.server.status().await;
            assert_eq!(
                (&shown["pid"], shown.get("beside")),
                (&expected.into(), answer.get("beside"))
            );
            let probes = [
                get(self.server.admin, "/live").await,
                get(self.server.admin, "/ready").await,
            ];
            assert!(probes.iter().all(|probe| probe.status == 200), "{probes:?}");
        }
    }

    async fn command(&self, text: &'static str) -> String {
        let control = self.pid_file.with_file_name("control");
        let asked = move || graceful_server::listener::command(control, text, BOUND);
        tokio::task::spawn_blocking(asked).await.unwrap().unwrap()
    }

    /// Waits until whoever the file names is `pid`.
    async fn named(&self, pid: Pid) {
        until("the pid file", async || {
            let text = fs::read_to_string(&self.pid_file).unwrap_or_default();
            text.trim() == pid.as_raw_nonzero().to_string()
        })
        .await;
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.pid_file.parent().unwrap());
    }
}

/// Waits until a process of this generation has answered on a fresh connection.
async fn answers(addr: SocketAddr, generation: u64) {
    until("an answer of this generation", async || {
        get(addr, "/").await.generation == Some(generation.try_into().unwrap())
    })
    .await;
}

/// Waits until nobody else answers any more.
async fn alone(addr: SocketAddr, generation: u64) {
    let mut row = 0;
    until("answers of this generation alone", async || {
        let right = get(addr, "/").await.generation == Some(generation.try_into().unwrap());
        row = if right { row + 1 } else { 0 };
        row == 20
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_serves_its_share_and_takes_over_when_it_is_committed() {
    let pair = Pair::start().await;
    let addr = pair.server.addr;
    let loops = Loops::fresh(addr);
    let kept = Loops::keep_alive(addr);
    answers(addr, 0).await;
    answers(addr, 1).await;
    pair.named(pair.old).await;
    signal(pair.old, Signal::HUP);
    assert_eq!(support::process::exit(pair.old).await, 0);
    pair.named(pair.new).await;
    loops.answer(200).await;
    kept.answer(200).await;
    loops.stop().await.assert_all_answered();
    kept.stop().await.assert_all_answered();
    alone(addr, 1).await;
    // It is a process like any other from here on.
    let mut pair = pair;
    signal(pair.new, Signal::HUP);
    pair.server.ready(2).await;
    assert_eq!(support::process::exit(pair.new).await, 0);
    signal(pair.server.pid, Signal::TERM);
    assert_eq!(pair.server.exit().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_is_stopped_loses_nothing_and_the_old_process_goes_on_alone() {
    let mut pair = Pair::start().await;
    let addr = pair.server.addr;
    let loops = Loops::fresh(addr);
    let kept = Loops::keep_alive(addr);
    answers(addr, 1).await;
    // One successor at a time, also while one is beside.
    signal(pair.old, Signal::USR2);
    pair.server.process.logged(1, "restart failed").await;
    let canary = format!("a canary, process {}, serves", pair.new.as_raw_nonzero());
    pair.server.process.logged(1, &canary).await;
    signal(pair.new, Signal::HUP);
    let elder = format!(
        "beside process {}, which decides",
        pair.old.as_raw_nonzero()
    );
    pair.server.process.logged(1, &elder).await;
    signal(pair.new, Signal::TERM);
    pair.server
        .process
        .logged(1, "beside this process has ended")
        .await;
    loops.answer(200).await;
    kept.answer(200).await;
    loops.stop().await.assert_all_answered();
    kept.stop().await.assert_all_answered();
    alone(addr, 0).await;
    // It went as it was told to.
    assert!(!pair.server.process.log().contains("WARN"));
    pair.named(pair.old).await;
    // As if nothing had been: the next restart works.
    signal(pair.old, Signal::HUP);
    pair.server.ready(1).await;
    assert_eq!(support::process::exit(pair.old).await, 0);
    signal(pair.server.pid, Signal::TERM);
    assert_eq!(pair.server.exit().await, 0);
}

/// It still accepts in its lame duck, and then it is gone: nobody may be left to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_while_a_canary_is_being_rolled_back_has_a_successor_of_its_own() {
    let mut pair = Pair::start_with(&["--lame-duck", "2s"]).await;
    let loops = Loops::fresh(pair.server.addr);
    answers(pair.server.addr, 1).await;
    signal(pair.new, Signal::TERM);
    let stopped = "beside this process is being stopped";
    pair.server.process.logged(1, stopped).await;
    signal(pair.old, Signal::HUP);
    let successor = pair.server.ready(1).await;
    assert_ne!(successor, pair.new);
    loops.answer(200).await;
    loops.stop().await.assert_all_answered();
    assert_eq!(support::process::exit(pair.old).await, 0);
    alone(pair.server.addr, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_are_answered_by_the_old_process_until_it_is_decided_and_then_by_who_is_left() {
    let mut pair = Pair::start().await;
    answers(pair.server.addr, 1).await;
    pair.operated_by(pair.old).await;
    // Rolled back, while it still serves somebody, and after.
    let mut slow = Vec::new();
    until("the canary has a slow request", async || {
        let mut wire = Wire::open(pair.server.addr).await;
        wire.get("/slow?ms=2000").await;
        slow.push(wire);
        pair.server.status().await["in_flight"] != slow.len()
    })
    .await;
    signal(pair.new, Signal::TERM);
    pair.operated_by(pair.old).await;
    pair.server
        .process
        .logged(1, "beside this process has ended")
        .await;
    pair.operated_by(pair.old).await;

    // Killed.
    signal(pair.old, Signal::USR2);
    pair.new = pair.server.ready(1).await;
    let beside = format!(",\"beside\":{},", pair.new.as_raw_nonzero());
    assert!(pair.command("status").await.contains(&beside));
    pair.operated_by(pair.old).await;
    signal(pair.new, Signal::KILL);
    pair.server
        .process
        .logged(2, "beside this process has ended")
        .await;
    pair.operated_by(pair.old).await;

    // Committed, by a command.
    signal(pair.old, Signal::USR2);
    pair.new = pair.server.ready(1).await;
    pair.operated_by(pair.old).await;
    let answer = pair.command("restart").await;
    assert_eq!(
        answer,
        format!("process {} serves", pair.new.as_raw_nonzero())
    );
    pair.operated_by(pair.new).await;
    assert_eq!(support::process::exit(pair.old).await, 0);
    pair.operated_by(pair.new).await;

    // The old process dies.
    signal(pair.new, Signal::USR2);
    let last = pair.server.ready(2).await;
    let old = std::mem::replace(&mut pair.new, last);
    pair.operated_by(old).await;
    signal(old, Signal::KILL);
    pair.named(last).await;
    pair.operated_by(last).await;
    assert_eq!(pair.command("drain").await, "draining");
    assert_eq!(support::process::exit(last).await, 0);
}

#[tokio::test]
async fn when_a_canary_dies_the_old_process_goes_on_and_may_have_another() {
    let mut pair = Pair::start().await;
    let addr = pair.server.addr;
    answers(addr, 1).await;
    signal(pair.new, Signal::KILL);
    pair.server
        .process
        .logged(1, "beside this process has ended")
        .await;
    alone(addr, 0).await;
    signal(pair.old, Signal::USR2);
    pair.server.ready(1).await;
    answers(addr, 1).await;
    // The service as a whole is stopped by stopping the old one.
    signal(pair.old, Signal::TERM);
    assert_eq!(support::process::exit(pair.old).await, 0);
    until("nobody listens", async || {
        tokio::net::TcpStream::connect(addr).await.is_err()
    })
    .await;
}

#[tokio::test]
async fn when_the_old_process_dies_the_canary_serves_alone() {
    let pair = Pair::start().await;
    let addr = pair.server.addr;
    signal(pair.old, Signal::KILL);
    pair.named(pair.new).await;
    alone(addr, 1).await;
    signal(pair.new, Signal::TERM);
    assert_eq!(support::process::exit(pair.new).await, 0);
}
