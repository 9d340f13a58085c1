//! The program of a successor is a launcher: it starts the server and exits. However the launcher ends, exactly one
//! generation serves afterwards, and the reported outcome is true.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::fs;

use rustix::process::{Pid, Signal};
use support::deployed::Deployed;
use support::process::{exit, signal};
use support::server::{BINARY, Server};
use support::wire::Wire;
use support::{get, post, text, until};

/// A server whose successors are started by `script`, in which `server` is the command.
async fn launched_by(script: &str) -> (Deployed, Server) {
    let deployed = Deployed::new();
    let server = Server::start_program(&deployed.path, &[]).await;
    deployed.put_script(&script.replace("server", &format!("{BINARY} \"$@\"")));
    (deployed, server)
}

/// Each response comes from the process of `server`.
async fn serves_alone(server: &Server, generation: u32) {
    let pid = server.pid.as_raw_nonzero();
    for _ in 0..30 {
        let here = text(&get(server.addr, "/").await).to_owned();
        assert_eq!(here, format!("pid={pid} generation={generation}\n"));
    }
    assert_eq!(server.status().await["pid"], pid.get());
}

/// Waits until the log of the old process has the PID of `server`.
async fn names_successor(server: &Server) {
    let pid = server.pid.as_raw_nonzero();
    let named = format!("handed over to a successor pid={pid}\n");
    server.process.logged(1, &named).await;
}

/// Stopping it stops the service.
async fn stops(server: &Server) {
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
    assert!(std::net::TcpStream::connect(server.addr).is_err());
}

#[tokio::test]
async fn a_successor_whose_launcher_leaves_takes_over_and_is_named() {
    for script in ["exec setsid -f server", "server &", "(server &)"] {
        let (_deployed, mut server) = launched_by(script).await;
        let first = server.process.first;
        let answer = post(server.admin, "/restart").await;
        assert_eq!(answer.status, 202, "{script}: {}", text(&answer));
        let new = server.ready(1).await;
        assert_ne!(new, first);
        assert_eq!(exit(first).await, 0, "{script}");
        names_successor(&server).await;
        serves_alone(&server, 1).await;
        stops(&server).await;
    }
}

#[tokio::test]
async fn a_launcher_that_fails_is_a_failed_restart_and_its_server_ends() {
    for (end, why) in [("exit 7", "exit status: 7"), ("kill -9 $$", "signal: 9")] {
        let late = "sh -c 'echo $$ > \"$0.late\"; sleep 1; exec server' \"$0\" \"$@\"";
        let until_there = "while ! [ -s \"$0.late\" ]; do sleep 0.02; done";
        let script = format!("{late} & {until_there}; {end}");
        let (deployed, server) = launched_by(&script).await;
        let answer = post(server.admin, "/restart").await;
        assert_eq!(answer.status, 409);
        assert!(text(&answer).contains(why), "{}", text(&answer));
        let late = fs::read_to_string(deployed.folder.join("server.late")).unwrap();
        let late = Pid::from_raw(late.trim().parse().unwrap()).unwrap();
        assert_ne!(exit(late).await, 0, "it must not serve");
        serves_alone(&server, 0).await;
        stops(&server).await;
    }
}

/// The parent of a process.
fn parent(pid: Pid) -> Pid {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
    let parent = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap();
    Pid::from_raw(parent.parse().unwrap()).unwrap()
}

#[tokio::test]
async fn the_end_of_a_launcher_is_not_the_end_of_its_server_and_that_one_is_noticed() {
    let (_deployed, mut server) = launched_by("server; exit 9").await;
    let old = server.pid;
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=4000").await;
    server.in_flight(1).await;
    server.signal(Signal::HUP);
    let new = server.ready(1).await;
    let launcher = parent(new);
    assert_ne!(launcher, old, "the launcher is between the two");
    names_successor(&server).await;

    signal(launcher, Signal::KILL);
    until("the end of the launcher", async || parent(new) != launcher).await;
    serves_alone(&server, 1).await;

    signal(new, Signal::KILL);
    server.serves_again(old).await;
    serves_alone(&server, 0).await;
    slow.read_until("\r\n\r\nok\n").await;
    stops(&server).await;
}

#[tokio::test]
async fn a_canary_whose_launcher_leaves_is_committed_or_rolled_back_like_any_other() {
    for commit in [true, false] {
        let (_deployed, mut server) = launched_by("exec setsid -f server").await;
        let old = server.pid;
        server.signal(Signal::USR2);
        let canary = server.ready(1).await;
        // The old process notes it after the canary has written its line.
        until("the canary in the status", async || {
            server.status().await["beside"] == canary.as_raw_nonzero().get()
        })
        .await;
        if commit {
            signal(old, Signal::HUP);
            assert_eq!(exit(old).await, 0);
            serves_alone(&server, 1).await;
        } else {
            signal(canary, Signal::TERM);
            assert_eq!(exit(canary).await, 0);
            server.pid = old;
            serves_alone(&server, 0).await;
        }
        stops(&server).await;
    }
}
