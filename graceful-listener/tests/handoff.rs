//! Old and new processes: what works, and what fails and leaves everything as it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{Folder, Process, ask, exists, open_fds, role, signal, until, zombies};
use rustix::process::Signal;

/// Not a test of its own: what the processes of the tests run.
#[test]
fn child_process() {
    common::run_role();
}

/// A server on `addrs`, ready, with the addresses it really has.
fn server_on(addrs: &str) -> (Process, Vec<String>) {
    run_server(role("server"), addrs)
}

fn run_server(mut command: Command, addrs: &str) -> (Process, Vec<String>) {
    command.env("ADDRS", addrs);
    let mut process = Process::start(command);
    let real = addrs
        .split(' ')
        .map(|_| process.line("listening "))
        .collect();
    assert_eq!(process.ready().1, 0);
    (process, real)
}

fn server_on_one() -> (Process, String) {
    let (process, mut real) = server_on("127.0.0.1:0");
    (process, real.remove(0))
}

/// Asks for a hand-over that has to work, and returns who serves then.
fn restart(process: &mut Process, addr: &str) -> (u32, u32) {
    let answer = ask(addr, "restart good").unwrap();
    assert!(answer.starts_with("committed "), "{answer}");
    process.ready()
}

fn who(addr: &str) -> String {
    ask(addr, "who").unwrap()
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn fresh_connections_are_answered_through_five_hand_overs() {
    const CLIENTS: usize = 3;
    const HAND_OVERS: u32 = 5;
    let folder = Folder::new();
    let abstract_name = format!("unix:@gl-{}-five", std::process::id());
    let addrs = format!(
        "127.0.0.1:0 [::1]:0 unix:{} {abstract_name}",
        folder.path("s")
    );
    let (mut process, real) = server_on(&addrs);
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // Also when something below panics: the scope waits for the clients, and a failure must not become a hang.
        let _done = SetOnDrop(&done);
        let client = |number: usize| {
            let (real, done, answered) = (&real, &done, &answered);
            move || {
                let mut last = 0;
                for addr in real.iter().cycle().skip(number) {
                    if done.load(Ordering::Relaxed) {
                        return last;
                    }
                    let answer = ask(addr, "who").unwrap_or_else(|error| panic!("{addr}: {error}"));
                    let generation = answer
                        .split_once(' ')
                        .expect("an answer")
                        .1
                        .parse()
                        .unwrap();
                    last = last.max(generation);
                    answered.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(1));
                }
                unreachable!("the cycle has no end");
            }
        };
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(client(number)))
            .collect();
        for generation in 1..=HAND_OVERS {
            let before = answered.load(Ordering::Relaxed);
            until("clients are answered", || {
                answered.load(Ordering::Relaxed) > before + 20
            });
            assert_eq!(restart(&mut process, &real[0]).1, generation);
        }
        until("the last generation answers", || {
            who(&real[0]).ends_with(" 5")
        });
        done.store(true, Ordering::Relaxed);
        assert!(
            clients
                .into_iter()
                .all(|client| client.join().unwrap() <= HAND_OVERS)
        );
    });
    let (pid, _) = who(&real[0])
        .split_once(' ')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    signal(pid.parse().unwrap(), Signal::TERM);
    process.all_gone();
    assert!(process.exit().success());
    for addr in &real {
        assert!(ask(addr, "who").is_err(), "{addr} still listens");
    }
    assert!(!std::fs::exists(folder.path("s")).unwrap());
}

#[test]
fn ten_hand_overs_leave_no_descriptor_and_no_process_behind() {
    let (mut process, addr) = server_on_one();
    let (first, _) = restart(&mut process, &addr);
    let fds = open_fds(first);
    let mut pid = first;
    for generation in 2..=10 {
        let (next, real) = restart(&mut process, &addr);
        assert_eq!(real, generation);
        until("the old process is gone", || !exists(pid) || is_zombie(pid));
        until("the descriptors are as many as before", || {
            open_fds(next) == fds
        });
        pid = next;
    }
    assert_eq!(variables(pid, "GRACEFUL_HANDOFF=").len(), 1);
}

/// The variables of a process that begin with `start`.
fn variables(pid: u32, start: &str) -> Vec<String> {
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let variables = environment
        .split('\0')
        .filter(|variable| variable.starts_with(start));
    variables.map(str::to_owned).collect()
}

#[test]
fn a_successor_is_started_as_its_predecessor_was_but_for_what_only_that_was_told() {
    let mut command = role("server");
    for (name, value) in [
        ("LISTEN_FDS", "1"),
        ("LISTEN_PID", "1"),
        ("LISTEN_FDNAMES", "a"),
        ("LISTEN_FDS_FIRST_FD", "9"),
        ("LISTEN_PIDFDID", "7"),
        ("NOTIFY_SOCKET", "@nobody"),
    ] {
        command.env(name, value);
    }
    std::os::unix::process::CommandExt::arg0(&mut command, "my-server");
    let (mut process, real) = run_server(command, "127.0.0.1:0");
    let old = process.pids[0];
    let told = |pid| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let before = told(old);
    assert!(before.starts_with(b"my-server\0"));
    assert_eq!(variables(old, "LISTEN_").len(), 5);
    let (new, _) = restart(&mut process, &real[0]);
    assert_eq!(told(new), before);
    assert!(variables(new, "LISTEN_").is_empty());
    assert_eq!(variables(new, "NOTIFY_SOCKET="), ["NOTIFY_SOCKET=@nobody"]);
}

/// Its parent may be no process that reaps.
fn is_zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// After `command` failed as `kind`, everything is as before.
fn fails_and_leaves_everything_as_it_was(
    process: &mut Process,
    addr: &str,
    command: &str,
    kind: &str,
) {
    let before = who(addr);
    let (pid, _) = before.split_once(' ').unwrap();
    let pid = pid.parse().unwrap();
    let fds = open_fds(pid);
    let answer = ask(addr, command).unwrap();
    assert!(
        answer.starts_with(&format!("failed {kind}: ")),
        "{command}: {answer}"
    );
    assert_eq!(who(addr), before, "{command}");
    until("no descriptor is left", || open_fds(pid) == fds);
    assert_eq!(zombies(pid), 0, "{command}");
    let (next, _) = restart(process, addr);
    assert_ne!(next, pid);
}

#[test]
fn a_successor_that_fails_before_it_is_ready_changes_nothing() {
    let (mut process, addr) = server_on_one();
    let folder = Folder::new();
    let not_executable = folder.path("file");
    std::fs::write(&not_executable, "no program").unwrap();
    let truncated = folder.path("truncated");
    std::fs::write(&truncated, b"\x7fELF").unwrap();
    executable(&truncated);
    for (command, kind) in [
        ("program 60000 /no/such/program", "spawn-failed"),
        (&*format!("program 60000 {not_executable}"), "spawn-failed"),
        // execvp(3) gives what the kernel does not know to the shell, and that gives up.
        (&*format!("program 60000 {truncated}"), "exited"),
        (
            &*format!("program 60000 {}", folder.0.display()),
            "spawn-failed",
        ),
        ("program 60000 /bin/false", "exited"),
        ("program 60000 /bin/true", "exited"),
        ("restart exit", "exited"),
        ("restart panic", "exited"),
        ("restart kill", "exited"),
    ] {
        fails_and_leaves_everything_as_it_was(&mut process, &addr, command, kind);
    }
}

#[test]
fn the_error_of_a_successor_that_ended_says_how() {
    let (_process, addr) = server_on_one();
    let status = |command: &str| ask(&addr, command).unwrap();
    assert!(status("program 60000 /bin/false").contains("exit status: 1"));
    assert!(status("program 60000 /bin/true").contains("exit status: 0"));
    assert!(status("restart kill").contains("signal: 9"));
    assert!(status("program 60000 /no/such/program").contains("/no/such/program"));
}

/// An executable file for the shell.
fn script(folder: &Folder, text: &str) -> String {
    let path = folder.path("script");
    std::fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
    executable(&path);
    path
}

fn executable(path: &str) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, mode).unwrap();
}

#[test]
fn a_successor_that_hangs_is_ended_and_one_that_ignores_term_is_killed() {
    let (mut process, addr) = server_on_one();
    // The server has a handler for TERM that it does not look at while it hangs.
    fails_and_leaves_everything_as_it_was(&mut process, &addr, "restart hang 200", "timed-out");
    let hung: u32 = process.line("hanging ").parse().unwrap();
    assert!(!exists(hung), "it is not reaped though the caller was told");
}

#[test]
fn a_program_that_knows_nothing_of_the_hand_over_times_out_and_ends_at_term() {
    let (mut process, addr) = server_on_one();
    let folder = Folder::new();
    let text = "trap 'echo \"@ terminated\"; exit' TERM\nwhile :; do sleep 0.02; done\n";
    let command = format!("program 300 {}", script(&folder, text));
    fails_and_leaves_everything_as_it_was(&mut process, &addr, &command, "timed-out");
    process.line("terminated");
}

#[test]
fn a_successor_may_ask_for_more_time() {
    let (mut process, addr) = server_on_one();
    let answer = ask(&addr, "restart slow=600 300").unwrap();
    assert!(answer.starts_with("committed "), "{answer}");
    assert_eq!(process.ready().1, 1);
}

#[test]
fn nothing_is_accepted_before_commit_and_a_second_attempt_is_refused() {
    let (mut process, addr) = server_on_one();
    let before = who(&addr);
    let answer = ask(&addr, "start good").unwrap();
    let successor = answer.strip_prefix("started ").unwrap().to_owned();
    for _ in 0..50 {
        assert_eq!(who(&addr), before);
    }
    assert!(
        ask(&addr, "restart good")
            .unwrap()
            .starts_with("failed busy: ")
    );
    let mut held = TcpStream::connect(&addr).unwrap();
    held.write_all(b"hold\n").unwrap();
    let committed = ask(&addr, "commit").unwrap();
    assert_eq!(committed, format!("committed {successor} 1"));
    assert_eq!(process.ready().1, 1);
    // The old process drains, for there is a connection, and accepts nothing any more.
    for _ in 0..50 {
        assert_eq!(who(&addr), format!("{successor} 1"));
    }
    held.write_all(b"go\n").unwrap();
    let mut answer = String::new();
    held.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, before);
    assert!(process.exit().success());
}

#[test]
fn two_attempts_at_once_make_one_successor() {
    let (mut process, addr) = server_on_one();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| ask(&addr, "restart wait=300").unwrap()))
            .collect();
        asking
            .into_iter()
            .map(|asked| asked.join().unwrap())
            .collect()
    });
    let committed = answers
        .iter()
        .filter(|answer| answer.starts_with("committed "))
        .count();
    let refused = answers
        .iter()
        .filter(|answer| answer.starts_with("failed busy") || answer.starts_with("failed handed"))
        .count();
    assert_eq!((committed, refused), (1, 3), "{answers:?}");
    assert_eq!(process.ready().1, 1);
}

#[test]
fn a_successor_that_is_not_wanted_any_more_is_ended() {
    let (mut process, addr) = server_on_one();
    for how in ["abort", "drop"] {
        let before = who(&addr);
        let answer = ask(&addr, "start good").unwrap();
        let successor: u32 = answer.strip_prefix("started ").unwrap().parse().unwrap();
        assert!(ask(&addr, how).unwrap().ends_with("ed"));
        until("it is gone and reaped", || !exists(successor));
        assert_eq!(who(&addr), before);
    }
    restart(&mut process, &addr);
}

#[test]
fn term_while_a_successor_starts_ends_both() {
    let (mut process, addr) = server_on_one();
    let (old, _) = who(&addr)
        .split_once(' ')
        .map(|(pid, g)| (pid.parse().unwrap(), g.len()))
        .unwrap();
    let answer = ask(&addr, "start good").unwrap();
    let successor: u32 = answer.strip_prefix("started ").unwrap().parse().unwrap();
    signal(old, Signal::TERM);
    assert!(process.exit().success());
    until("the successor is gone", || {
        !exists(successor) || is_zombie(successor)
    });
    assert!(ask(&addr, "who").is_err());
}

#[test]
fn a_successor_whose_predecessor_dies_before_commit_serves() {
    let (mut process, addr) = server_on_one();
    let old: u32 = who(&addr).split_once(' ').unwrap().0.parse().unwrap();
    let answer = ask(&addr, "start good").unwrap();
    let successor = answer.strip_prefix("started ").unwrap().to_owned();
    signal(old, Signal::KILL);
    assert_eq!(process.ready(), (successor.parse().unwrap(), 1));
    assert_eq!(who(&addr), format!("{successor} 1"));
    // It can hand over in its turn.
    assert_eq!(restart(&mut process, &addr).1, 2);
}

#[test]
fn the_old_process_serves_again_if_the_new_one_dies_while_it_drains() {
    let folder = Folder::new();
    let unix = format!("unix:{}", folder.path("s"));
    let (mut process, real) = server_on(&format!("127.0.0.1:0 {unix}"));
    let before = who(&real[0]);
    let mut held = TcpStream::connect(&real[0]).unwrap();
    held.write_all(b"hold\n").unwrap();
    let (new, _) = restart(&mut process, &real[0]);
    until("the new process serves", || who(&unix) != before);
    signal(new, Signal::KILL);
    // Not a client is refused meanwhile: they wait in the queue.
    assert_eq!(who(&real[0]), before);
    assert_eq!(who(&unix), before);
    process.line("reclaimed");
    let (third, generation) = restart(&mut process, &real[0]);
    assert_eq!(generation, 1);
    held.write_all(b"go\n").unwrap();
    assert!(process.exit().success());
    assert_eq!(who(&unix), format!("{third} 1"));
}

#[test]
fn a_successor_that_leaves_on_purpose_is_not_taken_for_dead() {
    let (mut process, addr) = server_on_one();
    let mut held = TcpStream::connect(&addr).unwrap();
    held.write_all(b"hold\n").unwrap();
    let (new, _) = restart(&mut process, &addr);
    until("the new process serves", || who(&addr).ends_with(" 1"));
    signal(new, Signal::TERM);
    process.line("left");
    until("nobody listens", || ask(&addr, "who").is_err());
    // The old process still finishes what it has.
    held.write_all(b"go\n").unwrap();
    let mut answer = String::new();
    held.read_to_string(&mut answer).unwrap();
    assert!(answer.trim_end().ends_with(" 0"), "{answer}");
    process.all_gone();
}

#[test]
fn a_unix_path_outlives_hand_overs_and_failures_and_goes_at_the_final_stop() {
    let folder = Folder::new();
    let path = folder.path("s");
    // Left by a dead server, so that the name in the kernel is not the path.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let (mut process, real) = server_on(&format!("unix:{path}"));
    let addr = &real[0];
    for _ in 0..2 {
        // Each takes the listener and drops it when it ends.
        for command in ["restart exit", "restart panic"] {
            assert!(
                ask(addr, command).unwrap().starts_with("failed exited"),
                "{command}"
            );
            who(addr);
        }
        restart(&mut process, addr);
    }
    let (last, _) = who(addr)
        .split_once(' ')
        .map(|(pid, g)| (pid.parse().unwrap(), g.len()))
        .unwrap();
    assert!(process.exit().success());
    who(addr);
    signal(last, Signal::TERM);
    process.all_gone();
    assert!(!std::fs::exists(&path).unwrap());
}

/// The harness runs `child_process` alone, and takes the other word for a second filter.
fn check(opinion: &str, ms: u32) -> String {
    format!("check {ms} child_process opinion-{opinion} --exact --nocapture")
}

#[test]
fn a_program_that_does_not_pass_its_check_is_not_started() {
    let (mut process, addr) = server_on_one();
    let bad = check("bad", 60_000);
    fails_and_leaves_everything_as_it_was(&mut process, &addr, &bad, "check-failed");
    let answer = ask(&addr, &bad).unwrap();
    assert!(answer.contains("exit status: 101"), "{answer}");
    assert!(answer.contains("line 7: no such key"), "{answer}");
    let hangs = check("none", 200);
    fails_and_leaves_everything_as_it_was(&mut process, &addr, &hangs, "check-failed");
    let answer = ask(&addr, &check("good", 60_000)).unwrap();
    assert!(answer.starts_with("committed "), "{answer}");
    process.ready();
}

#[test]
fn a_veto_and_a_panic_in_it_change_nothing() {
    let (mut process, addr) = server_on_one();
    fails_and_leaves_everything_as_it_was(&mut process, &addr, "veto no", "vetoed");
    assert!(ask(&addr, "veto no").unwrap().contains("a migration runs"));
    fails_and_leaves_everything_as_it_was(&mut process, &addr, "veto panic", "vetoed");
    let answer = ask(&addr, "veto yes").unwrap();
    assert!(answer.starts_with("committed "), "{answer}");
    process.ready();
}

#[test]
fn state_of_every_size_reaches_the_next_generation() {
    let (mut process, addr) = server_on_one();
    for bytes in [0, 1, 1024 * 1024, 16 * 1024 * 1024 - 1] {
        let answer = ask(&addr, &format!("state 1 {bytes}")).unwrap();
        assert!(answer.starts_with("committed "), "{bytes}: {answer}");
        assert_eq!(process.line("state "), format!("{bytes} true"));
        process.ready();
    }
}

#[test]
fn state_that_the_successor_declines_or_that_is_too_large_changes_nothing() {
    let (mut process, addr) = server_on_one();
    fails_and_leaves_everything_as_it_was(&mut process, &addr, "state 2 100000", "aborted");
    let answer = ask(&addr, "state 3 10").unwrap();
    assert!(answer.contains("schema 3 is unknown here"), "{answer}");
    let too_large = format!("state 1 {}", 16 * 1024 * 1024 + 1);
    fails_and_leaves_everything_as_it_was(&mut process, &addr, &too_large, "bad-state");
}

#[test]
fn three_hundred_listeners_of_one_name_arrive_in_their_order() {
    let addrs = ["127.0.0.1:0"; 300].join(" ");
    let (mut process, real) = server_on(&addrs);
    let answer = ask(&real[0], "restart good").unwrap();
    assert!(answer.ends_with(" 300"), "{answer}");
    let again: Vec<_> = addrs
        .split(' ')
        .map(|_| process.line("listening "))
        .collect();
    assert_eq!(again, real);
    let (pid, generation) = process.ready();
    for addr in &real {
        assert_eq!(who(addr), format!("{pid} {generation}"));
    }
}

#[test]
fn a_listener_that_the_successor_does_not_want_is_closed_by_the_old_process() {
    let folder = Folder::new();
    let unix = format!("unix:{}", folder.path("s"));
    let (mut process, real) = server_on(&format!("127.0.0.1:0 {unix}"));
    let before = who(&unix);
    let mut held = TcpStream::connect(&real[0]).unwrap();
    held.write_all(b"hold\n").unwrap();
    let answer = ask(&real[0], "restart first-only").unwrap();
    assert!(
        answer.ends_with(" 1"),
        "one listener is handed over: {answer}"
    );
    process.ready();
    // The old process still drains; a client that were let in would wait for nobody.
    until("the other is closed", || ask(&unix, "who").is_err());
    assert!(!std::fs::exists(folder.path("s")).unwrap());
    assert_ne!(who(&real[0]), before);
    held.write_all(b"go\n").unwrap();
    assert!(process.exit().success());
}

#[test]
fn a_child_that_has_nothing_to_do_with_it_inherits_nothing() {
    let (mut process, addr) = server_on_one();
    let before = ask(&addr, "inherited").unwrap();
    ask(&addr, "start good").unwrap();
    assert_eq!(ask(&addr, "inherited").unwrap(), before);
    ask(&addr, "commit").unwrap();
    process.ready();
    assert_eq!(ask(&addr, "inherited").unwrap(), before);
}

#[test]
fn a_descendant_of_a_successor_does_not_take_its_channel() {
    let (mut process, addr) = server_on_one();
    restart(&mut process, &addr);
    let answer = ask(&addr, "descendant").unwrap();
    assert!(answer.contains("@ error none-inherited: "), "{answer}");
    assert!(answer.contains("@ got 127.0.0.1:0@127.0.0.1:"), "{answer}");
    assert_eq!(restart(&mut process, &addr).1, 2);
}

#[test]
fn a_successor_that_may_not_open_enough_descriptors_says_so_and_changes_nothing() {
    let addrs = ["127.0.0.1:0"; 60].join(" ");
    let (mut process, real) = server_on(&addrs);
    let folder = Folder::new();
    let own = std::env::current_exe().unwrap();
    let text = format!("ulimit -n 40\nexec {} \"$@\"\n", own.display());
    let script = script(&folder, &text);
    let command = format!("program 60000 {script} --exact child_process --nocapture");
    fails_and_leaves_everything_as_it_was(&mut process, &real[0], &command, "aborted");
    let answer = ask(&real[0], &command).unwrap();
    assert!(answer.contains("limit of open files"), "{answer}");
}

#[test]
fn pid_1_is_refused() {
    let unshare = ["--pid", "--fork", "--kill-child"];
    let allowed = Command::new("unshare").args(unshare).arg("true").output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this test needs the right to make a process namespace");
        return;
    }
    let inner = role("server");
    let mut command = Command::new("unshare");
    command
        .args(unshare)
        .arg(inner.get_program())
        .args(inner.get_args());
    command.env("ROLE", "server").env("ADDRS", "127.0.0.1:0");
    let mut process = Process::start(command);
    let addr = process.line("listening ");
    assert_eq!(process.line("ready "), "1 0");
    for _ in 0..2 {
        let answer = ask(&addr, "restart good").unwrap();
        assert!(
            answer.starts_with("failed would-kill-container: "),
            "{answer}"
        );
        assert_eq!(who(&addr), "1 0");
    }
}

#[test]
fn a_successor_that_has_not_taken_over_starts_no_other() {
    let (mut process, addr) = server_on_one();
    assert!(
        ask(&addr, "restart restart-early")
            .unwrap()
            .starts_with("committed ")
    );
    assert!(process.line("too early ").starts_with("failed busy: "));
    process.ready();
    restart(&mut process, &addr);
}
