//! Who may seal a listener that came from another process: whoever is the last to have it, and nobody else (law 8).
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

mod common;

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use common::claim::inherit;
use common::{Process, ask, exists, role, signal, until};
use rustix::process::Signal;

/// Not a test of its own: what the processes of the tests run.
#[test]
fn child_process() {
    common::run_role();
}

/// A server, ready, and its address.
fn server() -> (Process, String) {
    let mut command = role("server");
    command.env("ADDRS", "127.0.0.1:0");
    started(command)
}

fn started(command: Command) -> (Process, String) {
    let mut process = Process::start(command);
    let addr = process.line("listening ");
    process.ready();
    (process, addr)
}

/// Asks for a hand-over that has to work, and returns the process that serves then.
fn restart(process: &mut Process, addr: &str) -> u32 {
    let answer = ask(addr, "restart good").unwrap();
    assert!(answer.starts_with("committed "), "{answer}");
    process.line("listening ");
    process.ready().0
}

/// A connection that keeps the process that serves from ending while it is open.
fn hold(addr: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(b"hold\n").unwrap();
    // Whoever is asked later has been accepted later, and by the same process.
    ask(addr, "who").unwrap();
    stream
}

fn ended(pid: u32) {
    until("it has ended", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        !exists(pid) || stat.is_ok_and(|stat| stat.contains(") Z "))
    });
}

/// Whether whoever serves has sealed its listener when it was told to: nobody gets a connection any more.
fn is_sealed(addr: &str) -> bool {
    let said = ask(addr, "seal").unwrap() == "true";
    let client = TcpStream::connect_timeout(&addr.parse().unwrap(), Duration::from_millis(500));
    match client.map_err(|error| error.kind()) {
        Ok(_) => assert!(!said),
        Err(ErrorKind::TimedOut) => assert!(said),
        Err(other) => panic!("{other}"),
    }
    said
}

#[test]
fn after_a_restart_it_is_sealed_once_the_process_before_has_ended() {
    let (mut process, addr) = server();
    restart(&mut process, &addr);
    process.exit();
    assert!(is_sealed(&addr));
}

#[test]
fn after_many_restarts_as_well() {
    let (mut process, addr) = server();
    let mut last = restart(&mut process, &addr);
    process.exit();
    for _ in 0..3 {
        let before = std::mem::replace(&mut last, restart(&mut process, &addr));
        ended(before);
    }
    assert!(is_sealed(&addr));
}

#[test]
fn it_is_sealed_also_if_the_process_before_was_killed_while_it_drained() {
    let (mut process, addr) = server();
    let _held = hold(&addr);
    restart(&mut process, &addr);
    signal(process.pids[0], Signal::KILL);
    process.exit();
    assert!(is_sealed(&addr));
}

#[test]
fn it_is_not_sealed_while_the_process_before_may_take_it_back() {
    let (mut process, addr) = server();
    let _held = hold(&addr);
    let successor = restart(&mut process, &addr);
    assert!(!is_sealed(&addr));
    signal(successor, Signal::KILL);
    process.line("reclaimed");
    let who = ask(&addr, "who").unwrap();
    assert_eq!(who, format!("{} 0", process.pids[0]));
}

/// What the dead one had started itself nobody knows.
#[test]
fn it_is_not_sealed_by_a_process_that_has_taken_it_back() {
    let (mut process, addr) = server();
    let _held = hold(&addr);
    let successor = restart(&mut process, &addr);
    signal(successor, Signal::KILL);
    process.line("reclaimed");
    assert!(!is_sealed(&addr));
    let last = restart(&mut process, &addr);
    drop(_held);
    process.exit();
    assert!(!is_sealed(&addr));
    assert!(ask(&addr, "who").unwrap().starts_with(&last.to_string()));
}

#[test]
fn it_is_sealed_after_two_restarts_in_quick_succession_when_both_have_ended() {
    let (mut process, addr) = server();
    let first = hold(&addr);
    let second = restart(&mut process, &addr);
    let held = hold(&addr);
    restart(&mut process, &addr);
    drop(first);
    process.exit();
    drop(held);
    ended(second);
    assert!(is_sealed(&addr));
}

#[test]
fn it_is_not_sealed_while_one_of_two_before_is_left() {
    let (mut process, addr) = server();
    let _first = hold(&addr);
    let second = restart(&mut process, &addr);
    restart(&mut process, &addr);
    ended(second);
    assert!(!is_sealed(&addr));
}

#[test]
fn one_that_a_service_manager_passed_is_not_sealed_in_any_generation() {
    let vars = "SERVER_STARTER_PORT={3}=3\nADDRS={3}";
    let mut command = inherit("tcp", vars, "");
    command.env("THEN", "server").env("FROM_ENV", "1");
    let (mut process, addr) = started(command);
    restart(&mut process, &addr);
    process.exit();
    assert!(!is_sealed(&addr));
}
