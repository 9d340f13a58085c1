//! The control socket: commands, and processes that take over though nobody of us started them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by a panic"
)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{Folder, PATIENCE, Process, ask, role, signal, until};
use graceful_listener::command;
use rustix::process::Signal;

/// Not a test of its own: what the processes of the tests run.
#[test]
fn child_process() {
    common::run_role();
}

/// A server on `addr` with its control socket at `control`.
fn server(addr: &str, control: &str) -> Command {
    let mut command = role("server");
    command.env("ADDRS", addr).env("CONTROL", control);
    command
}

/// The same, which asks for the place of the one that is there.
fn candidate(addr: &str, control: &str) -> Command {
    let mut command = server(addr, control);
    command.env("TAKEOVER", "1");
    command
}

fn start(command: Command) -> (Process, String) {
    let mut process = Process::start(command);
    let addr = process.line("listening ");
    process.ready();
    (process, addr)
}

fn who(addr: &str) -> String {
    ask(addr, "who").unwrap()
}

fn identity(path: &str) -> (u64, u64) {
    let file = std::fs::metadata(path).unwrap();
    (file.dev(), file.ino())
}

#[test]
fn commands_are_answered_with_their_outcome() {
    let folder = Folder::new();
    let path = folder.path("control");
    let error = command(&path, "who", PATIENCE).unwrap_err();
    assert!(error.is_nobody_there(), "{error}");
    let (mut process, addr) = start(server("127.0.0.1:0", &path));
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(command(&path, "who", PATIENCE).unwrap(), who(&addr));
    let failed = command(&path, "fail", PATIENCE).unwrap_err();
    assert!(
        failed.is_failed() && failed.to_string().contains("told to"),
        "{failed}"
    );
    assert!(command(&path, "drop", PATIENCE).unwrap_err().is_failed());
    let late = command(&path, "keep", Duration::from_millis(200)).unwrap_err();
    assert!(late.is_timed_out(), "{late}");
    // Clients that say nothing, or nonsense, are nobody's concern.
    let _silent: Vec<_> = (0..40)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    let mut nonsense = UnixStream::connect(&path).unwrap();
    nonsense.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(command(&path, "who", PATIENCE).unwrap(), who(&addr));
    signal(process.pids[0], Signal::TERM);
    process.all_gone();
    assert!(
        !std::fs::exists(&path).unwrap(),
        "the path is removed in the end"
    );
}

#[test]
fn a_process_that_nobody_here_started_takes_over_and_the_socket_moves_along() {
    let folder = Folder::new();
    let path = folder.path("control");
    let (mut old, addr) = start(server("127.0.0.1:0", &path));
    let socket = identity(&path);
    let leaked = ask(&addr, "inherited").unwrap();
    let mut new = candidate("127.0.0.1:0", &path);
    // It is the one listener there is: the control socket does not count.
    new.env("START", "taken").env("FROM_ENV", "1");
    let mut new = Process::start(new);
    assert_eq!(new.line("took over "), "true");
    assert_eq!(new.line("state "), "1000");
    assert_eq!(new.line("listening "), addr);
    let (pid, generation) = new.ready();
    assert_eq!((old.line("candidate "), generation), (pid.to_string(), 1));
    assert!(old.exit().success());
    assert_eq!(who(&addr), format!("{pid} 1"));
    assert_eq!(command(&path, "who", PATIENCE).unwrap(), format!("{pid} 1"));
    // A child that has nothing to do with it inherits neither channel nor control socket.
    assert_eq!(ask(&addr, "inherited").unwrap(), leaked);
    // Its successor has the same command line, TAKEOVER and all.
    assert!(
        ask(&addr, "restart good")
            .unwrap()
            .starts_with("committed ")
    );
    let (pid, generation) = new.ready();
    assert_eq!(generation, 2);
    until("the last generation answers", || {
        command(&path, "who", PATIENCE).is_ok_and(|who| who == format!("{pid} 2"))
    });
    assert_eq!(identity(&path), socket);
    signal(pid, Signal::TERM);
    new.all_gone();
    assert!(!std::fs::exists(&path).unwrap());
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn takeovers_under_load_refuse_nobody() {
    let folder = Folder::new();
    let path = folder.path("control");
    let (mut process, addr) = start(server("127.0.0.1:0", &path));
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _done = SetOnDrop(&done);
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    ask(&addr, "who").unwrap_or_else(|error| panic!("refused: {error}"));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for generation in 1..=5 {
            let before = answered.load(Ordering::Relaxed);
            until("clients are answered", || {
                answered.load(Ordering::Relaxed) > before + 20
            });
            let mut next = Process::start(candidate("127.0.0.1:0", &path));
            assert_eq!(next.ready().1, generation);
            assert!(process.exit().success());
            process = next;
        }
    });
    assert!(who(&addr).ends_with(" 5"));
}

#[test]
fn the_old_process_serves_again_if_one_that_took_over_dies_while_it_drains() {
    let folder = Folder::new();
    let path = folder.path("control");
    let (mut old, addr) = start(server("127.0.0.1:0", &path));
    let before = who(&addr);
    let mut held = TcpStream::connect(&addr).unwrap();
    held.write_all(b"hold\n").unwrap();
    let (mut new, _) = start(candidate("127.0.0.1:0", &path));
    until("the new process serves", || who(&addr) != before);
    signal(new.pids[0], Signal::KILL);
    new.exit();
    assert_eq!(who(&addr), before);
    assert_eq!(command(&path, "who", PATIENCE).unwrap(), before);
    old.line("reclaimed");
    // One that leaves on purpose is not taken for dead, and the next can come.
    let (mut new, _) = start(candidate("127.0.0.1:0", &path));
    until("the new process serves", || who(&addr) != before);
    signal(new.pids[0], Signal::TERM);
    old.line("left");
    new.all_gone();
    held.write_all(b"go\n").unwrap();
    assert!(old.exit().success());
}

#[test]
fn a_candidate_whose_predecessor_dies_before_commit_serves() {
    let folder = Folder::new();
    let path = folder.path("control");
    let (mut old, addr) = start(server("127.0.0.1:0", &path));
    let mut new = candidate("127.0.0.1:0", &path);
    new.env("START", "wait=500");
    let mut new = Process::start(new);
    assert_eq!(new.line("took over "), "true");
    signal(old.pids[0], Signal::KILL);
    old.exit();
    assert_eq!(new.ready().1, 1);
    assert!(who(&addr).ends_with(" 1"));
    assert!(command(&path, "who", PATIENCE).unwrap().ends_with(" 1"));
}

#[test]
fn a_takeover_that_fails_changes_nothing() {
    let folder = Folder::new();
    let path = folder.path("control");
    let mut command_line = server("127.0.0.1:0", &path);
    command_line.env("READY_MS", "1500");
    let (mut old, addr) = start(command_line);
    let before = who(&addr);
    for (how, outcome) in [
        ("exit", "failed exited"),
        ("panic", "failed exited"),
        ("kill", "failed exited"),
        ("hang", "failed timed-out"),
    ] {
        let mut new = candidate("127.0.0.1:0", &path);
        new.env("START", how);
        let mut new = Process::start(new);
        assert!(
            old.line("failed ").starts_with(&outcome["failed ".len()..]),
            "{how}"
        );
        assert_eq!(who(&addr), before, "{how}");
        assert_eq!(command(&path, "who", PATIENCE).unwrap(), before, "{how}");
        signal(new.pids[0], Signal::KILL);
        new.exit();
    }
    let (_new, _) = start(candidate("127.0.0.1:0", &path));
    assert!(old.exit().success());
}

#[test]
fn a_candidate_that_claims_no_listener_is_refused_and_one_that_drops_some_is_not() {
    let folder = Folder::new();
    let path = folder.path("control");
    let (mut old, addr) = start(server("127.0.0.1:0 127.0.0.2:0", &path));
    let other = old.line("listening ");
    let before = who(&addr);
    // Elsewhere, and nowhere: the control socket alone is no service.
    for addrs in ["127.0.0.3:0", "127.0.0.3:0 127.0.0.4:0"] {
        let mut new = Process::start(candidate(addrs, &path));
        assert!(
            new.line("called off: ")
                .starts_with("failed nothing-claimed: ")
        );
        assert!(old.line("failed ").starts_with("nothing-claimed: "));
        assert!(new.exit().success());
        assert_eq!(who(&addr), before);
        assert_eq!(who(&other), before);
        assert_eq!(command(&path, "who", PATIENCE).unwrap(), before);
    }
    let (_new, kept) = start(candidate("127.0.0.2:0 127.0.0.3:0", &path));
    assert_eq!(kept, other);
    assert!(old.exit().success());
    assert_ne!(who(&other), before);
    TcpStream::connect(&addr).unwrap_err();
}

#[test]
fn a_candidate_is_told_why_it_is_refused() {
    let folder = Folder::new();
    let path = folder.path("control");
    let mut command_line = server("127.0.0.1:0", &path);
    command_line.env("VETO", "1");
    let (mut old, addr) = start(command_line);
    let before = who(&addr);
    let mut new = Process::start(candidate("127.0.0.1:0", &path));
    let refused = new.line("failed ");
    assert!(
        refused.starts_with("aborted") && refused.contains("a migration runs"),
        "{refused}"
    );
    old.line("failed vetoed");
    // One at a time.
    assert!(ask(&addr, "start good").unwrap().starts_with("started "));
    let mut new = Process::start(candidate("127.0.0.1:0", &path));
    assert!(new.line("failed ").contains("already"));
    assert_eq!(who(&addr), before);
    assert_eq!(ask(&addr, "abort").unwrap(), "aborted");
}

/// Of each thread: pid (name) state …
fn is_stopped(pid: u32) -> bool {
    let mut threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.all(|thread| {
        let stat = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    })
}

#[test]
fn a_server_that_is_stopped_is_not_waited_for_and_then_serves_on() {
    let folder = Folder::new();
    let path = folder.path("control");
    let (old, addr) = start(server("127.0.0.1:0", &path));
    let before = who(&addr);
    signal(old.pids[0], Signal::STOP);
    until("all its threads are stopped", || is_stopped(old.pids[0]));
    let late = command(&path, "who", Duration::from_millis(200)).unwrap_err();
    assert!(late.is_timed_out());
    let mut new = Process::start(candidate("127.0.0.1:0", &path));
    assert!(new.line("failed ").starts_with("timed-out"));
    signal(old.pids[0], Signal::CONT);
    assert_eq!(who(&addr), before);
    let (_new, _) = start(candidate("127.0.0.1:0", &path));
    until("the new process serves", || who(&addr) != before);
}

#[test]
fn a_socket_that_a_dead_server_left_is_replaced_and_a_living_one_is_not() {
    let folder = Folder::new();
    let path = folder.path("control");
    let (mut old, _) = start(server("127.0.0.1:0", &path));
    let mut rival = Process::start(server("127.0.0.1:0", &path));
    assert!(rival.line("no control: ").contains("a living server"));
    signal(old.pids[0], Signal::KILL);
    old.exit();
    let socket = identity(&path);
    let mut new = Process::start(candidate("127.0.0.1:0", &path));
    assert_eq!(new.line("took over "), "false");
    assert_eq!(new.ready().1, 0);
    assert_ne!(identity(&path), socket);
    let who = format!("{} 0", new.pids[0]);
    assert_eq!(command(&path, "who", PATIENCE).unwrap(), who);
    // A path that is somebody else's by the end is not removed.
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    signal(new.pids[0], Signal::TERM);
    new.all_gone();
    assert!(std::fs::exists(&path).unwrap());
}

/// A frame as `src/protocol/frame.rs` describes it.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind], payload].concat()
}

fn hello(min: u16, max: u16) -> Vec<u8> {
    frame(
        1,
        &[&min.to_be_bytes()[..], &max.to_be_bytes(), &[0; 8]].concat(),
    )
}

/// The type and the payload of each frame until the end.
fn frames(mut stream: UnixStream) -> Vec<(u8, Vec<u8>)> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut frames = Vec::new();
    let mut header = [0; 5];
    while stream.read_exact(&mut header).is_ok() {
        let [a, b, c, d, kind] = header;
        let mut payload = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
        stream.read_exact(&mut payload).unwrap();
        frames.push((kind, payload));
    }
    frames
}

#[test]
fn versions_that_do_not_meet_part_on_both_sides() {
    let folder = Folder::new();
    let path = folder.path("control");
    let (_old, addr) = start(server("127.0.0.1:0", &path));
    let before = who(&addr);
    // A candidate of the future.
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(&hello(7, 9)).unwrap();
    let said = frames(stream);
    assert_eq!(
        said.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
        [1, 7]
    );
    assert!(String::from_utf8_lossy(&said[1].1).contains("versions 7 to 9"));
    assert_eq!(who(&addr), before);
    // A server of the future.
    let path = folder.path("future");
    let future = UnixListener::bind(&path).unwrap();
    let mut new = Process::start(candidate("127.0.0.1:0", &path));
    let (mut stream, _) = future.accept().unwrap();
    stream.write_all(&hello(7, 9)).unwrap();
    let refused = new.line("failed ");
    assert!(
        refused.starts_with("protocol") && refused.contains("7 to 9"),
        "{refused}"
    );
    let said = frames(stream);
    assert_eq!(said.last().unwrap().0, 7, "the server is told: {said:?}");
}

#[test]
fn whoever_says_nothing_makes_room_for_those_who_do() {
    let folder = Folder::new();
    let path = folder.path("control");
    let (_process, addr) = start(server("127.0.0.1:0", &path));
    let silent: Vec<_> = (0..200)
        .map(|n| {
            let mut stream = UnixStream::connect(&path).unwrap();
            // Half a greeting is none.
            stream.write_all(&hello(1, 1)[..n % 17]).unwrap();
            stream
        })
        .collect();
    for _ in 0..50 {
        assert_eq!(command(&path, "who", PATIENCE).unwrap(), who(&addr));
    }
    // Many that ask at once are no such case: everybody is answered.
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| assert_eq!(command(&path, "who", PATIENCE).unwrap(), who(&addr)));
        }
    });
    let said = frames(silent.into_iter().next().unwrap());
    let reason = String::from_utf8_lossy(&said.last().expect("the oldest is told").1);
    assert!(reason.contains("others came"), "{reason}");
}

#[test]
fn a_candidate_that_says_nothing_holds_no_other_up() {
    let folder = Folder::new();
    let path = folder.path("control");
    let (mut old, addr) = start(server("127.0.0.1:0", &path));
    let asks = || {
        let mut stream = UnixStream::connect(&path).unwrap();
        let text = b"takeover";
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        stream.write_all(&hello(1, 1)).unwrap();
        stream
            .write_all(&frame(13, &[&length[..], text].concat()))
            .unwrap();
        // HELLO; it is let in no further.
        let mut said = [0; 17];
        stream.read_exact(&mut said).unwrap();
        assert_eq!(said[4], 1);
        stream
    };
    let _silent: Vec<_> = (0..3).map(|_| asks()).collect();
    assert!(ask(&addr, "start good").unwrap().starts_with("started "));
    assert_eq!(ask(&addr, "abort").unwrap(), "aborted");
    // One that greets is waited for, alone.
    let mut greets = asks();
    greets.write_all(&hello(1, 1)).unwrap();
    old.line("candidate ");
    until("its turn has come", || {
        ask(&addr, "start good").unwrap().starts_with("failed busy")
    });
    drop(greets);
    old.line("failed exited");
    let mut new = Process::start(candidate("127.0.0.1:0", &path));
    new.line("ready ");
    assert!(old.exit().success());
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn has(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok()
}

#[test]
fn another_user_is_sent_away_though_the_file_would_let_it_in() {
    if !is_root() || !has("setpriv") {
        eprintln!("skipped: this test needs root and setpriv (util-linux)");
        return;
    }
    let folder = Folder::new();
    let path = folder.path("control");
    let (_old, addr) = start(server("127.0.0.1:0", &path));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    // Where everybody may execute it.
    let program = folder.path("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let other = |inner: Command| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(&program).args(inner.get_args());
        let set = inner
            .get_envs()
            .filter_map(|(key, value)| Some((key, value?)));
        command.envs(set);
        command
    };
    let before = who(&addr);
    let mut new = Process::start(other(candidate("127.0.0.1:0", &path)));
    assert!(new.line("failed ").contains("user 65534 may not control"));
    assert_eq!(who(&addr), before);
    // And nobody takes listeners from somebody else's process, root's apart.
    std::fs::set_permissions(&folder.0, PermissionsExt::from_mode(0o777)).unwrap();
    let theirs = folder.path("theirs");
    std::os::unix::fs::chown(
        UnixListener::bind(&theirs).map(|_| &theirs).unwrap(),
        Some(1),
        None,
    )
    .unwrap();
    std::fs::set_permissions(&theirs, PermissionsExt::from_mode(0o666)).unwrap();
    let mut new = Process::start(other(candidate("127.0.0.1:0", &theirs)));
    new.line("failed ");
}

/// As two containers: neither sees the other's processes, both see the folder, one of them under
/// another name, and the old one is PID 1 of its own.
#[test]
fn a_process_in_another_namespace_takes_over() {
    let allowed = Command::new("unshare")
        .args(["-m", "-p", "--fork", "true"])
        .output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this test needs the right to make process and mount namespaces");
        return;
    }
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let contained = |inner: Command, before: &str| {
        let mut command = Command::new("unshare");
        command.args(["-m", "-p", "--fork", "--kill-child", "sh", "-c"]);
        command.arg(format!("{before} && exec \"$@\"")).arg("sh");
        command.arg(inner.get_program()).args(inner.get_args());
        command.envs(
            inner
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        );
        command
    };
    let path = folder.path("control");
    let mut old = Process::start(contained(server("127.0.0.1:0", &path), "true"));
    let addr = old.line("listening ");
    assert_eq!(old.line("ready "), "1 0");
    let socket = identity(&path);

    let mount = format!(
        "mount --bind {} {}",
        folder.0.display(),
        elsewhere.0.display()
    );
    let inner = candidate("127.0.0.1:0", &elsewhere.path("control"));
    let mut new = Process::start(contained(inner, &mount));
    assert_eq!(new.line("took over "), "true");
    assert_eq!(new.line("listening "), addr);
    assert_eq!(new.line("ready "), "1 1");
    assert!(old.exit().success());
    assert_eq!(who(&addr), "1 1");
    assert_eq!(command(&path, "who", PATIENCE).unwrap(), "1 1");
    assert_eq!(identity(&path), socket);

    // Its end is seen by the end of the channel alone.
    let mut held = TcpStream::connect(&addr).unwrap();
    held.write_all(b"hold\n").unwrap();
    let mut third = Process::start(contained(candidate("127.0.0.1:0", &path), "true"));
    assert_eq!(third.line("ready "), "1 2");
    until("the third serves", || who(&addr) == "1 2");
    drop(third);
    assert_eq!(who(&addr), "1 1");
    new.line("reclaimed");
    held.write_all(b"go\n").unwrap();
}
