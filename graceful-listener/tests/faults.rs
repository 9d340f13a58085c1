//! What stands in the way of a hand-over from outside: a program that is being written or is none for this machine, a
//! clock that runs out in the very moment, and a system that lets no process be made. Guards laws 9 and 11.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::{Folder, Process, ask, has_tool, open_fds, role, until, zombies};
use rustix::process::{Resource, getrlimit};

/// Not a test of its own: what the processes of the tests run.
#[test]
fn child_process() {
    common::run_role();
}

fn server(mut command: Command) -> (Process, String) {
    command.env("ADDRS", "127.0.0.1:0");
    let mut process = Process::start(command);
    let addr = process.line("listening ");
    process.ready();
    (process, addr)
}

fn who(addr: &str) -> String {
    ask(addr, "who").unwrap()
}

/// A copy of this program, to be started by `program`.
fn copy(folder: &Folder) -> String {
    let path = folder.path("program");
    fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
    path
}

fn program(path: &str) -> String {
    format!("program 60000 {path} --exact child_process --nocapture")
}

/// After a failure nothing has changed, and the next attempt works.
fn serves_on(process: &mut Process, addr: &str, before: &str, fds: usize) {
    assert_eq!(who(addr), before);
    let pid = process.pids[0];
    until("no descriptor is left", || open_fds(pid) == fds);
    assert_eq!(zombies(pid), 0);
    let answer = ask(addr, "restart good").unwrap();
    assert!(answer.starts_with("committed "), "{answer}");
    assert_eq!(process.ready().1, 1);
}

#[test]
fn a_program_that_is_being_written_is_waited_for_and_not_for_long() {
    let (mut process, addr) = server(role("server"));
    let (before, fds) = (who(&addr), open_fds(process.pids[0]));
    let folder = Folder::new();
    let path = copy(&folder);
    let writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let answer = ask(&addr, &program(&path)).unwrap();
    assert!(answer.starts_with("failed spawn-failed: "), "{answer}");
    assert!(answer.contains(&path) && who(&addr) == before, "{answer}");
    until("no descriptor is left", || open_fds(process.pids[0]) == fds);
    // Done while it waits.
    let answer = thread::scope(|scope| {
        let asked = scope.spawn(|| ask(&addr, &program(&path)).unwrap());
        thread::sleep(Duration::from_millis(100));
        drop(writer);
        asked.join().unwrap()
    });
    assert!(answer.starts_with("committed "), "{answer}");
    assert_eq!(process.ready().1, 1);
}

#[test]
fn a_program_for_another_machine_changes_nothing() {
    let (mut process, addr) = server(role("server"));
    let (before, fds) = (who(&addr), open_fds(process.pids[0]));
    let folder = Folder::new();
    let path = folder.path("program");
    let mut bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
    // e_machine of the ELF header, elf(5).
    bytes[18..20].copy_from_slice(&[0xfe, 0xfe]);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let answer = ask(&addr, &program(&path)).unwrap();
    // execvp(3) gives what the kernel does not know to the shell, and that gives up.
    assert!(answer.starts_with("failed exited: "), "{answer}");
    serves_on(&mut process, &addr, &before, fds);
}

/// Whichever of the two comes first: the successor serves, or it has ended and nothing has changed. A client that asks all
/// the time is answered by one of them, always.
#[test]
fn ready_that_races_the_end_of_patience_is_one_or_the_other() {
    const PATIENCE_MS: u64 = 300;
    let (mut process, addr) = server(role("server"));
    for wait in (PATIENCE_MS - 100..=PATIENCE_MS + 10).step_by(10) {
        let before = who(&addr);
        let command = format!("restart wait={wait} {PATIENCE_MS}");
        let answer = thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&addr, &command).unwrap());
            while !asked.is_finished() {
                who(&addr);
            }
            asked.join().unwrap()
        });
        let generation: u32 = before.split_once(' ').unwrap().1.parse().unwrap();
        if answer.starts_with("committed ") {
            let (pid, next) = process.ready();
            assert_eq!(next, generation + 1);
            until("it serves alone", || who(&addr) == format!("{pid} {next}"));
        } else {
            assert!(answer.starts_with("failed timed-out: "), "{answer}");
            assert!(!process.has_line("ready "), "it serves as well: {answer}");
            assert_eq!(who(&addr), before);
        }
    }
}

/// As it is under a limit of processes, a full cgroup, or a filter that forbids fork.
#[test]
fn where_no_process_can_be_made_that_is_said_and_nothing_changes() {
    if !has_tool("setpriv") || !has_tool("prlimit") {
        return;
    }
    let folder = Folder::new();
    let inner = role("server");
    // Where everybody may execute it.
    let mut command = limited(&copy(&folder));
    command.args(inner.get_args()).env("ROLE", "server");
    let (mut process, addr) = server(command);
    let (before, fds) = (who(&addr), open_fds(process.pids[0]));
    let pid = process.pids[0].to_string();
    let limit = |soft: &str| {
        let mut command = limited("prlimit");
        command.args(["--pid", &pid, &format!("--nproc={soft}:")]);
        assert!(command.status().unwrap().success());
    };
    limit("0");
    let answer = ask(&addr, "restart good").unwrap();
    assert!(answer.starts_with("failed spawn-failed: "), "{answer}");
    let most = getrlimit(Resource::Nproc).maximum;
    limit(&most.map_or_else(|| "unlimited".to_owned(), |most| most.to_string()));
    serves_on(&mut process, &addr, &before, fds);
}

/// As a user whom the limit counts for: root's processes are as many as root likes.
fn limited(program: &str) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
    command
}
