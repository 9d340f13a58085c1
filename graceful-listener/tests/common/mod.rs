//! Real processes for the tests: the test binary starts itself again in a role.
//!
//! Each test file has a test `child_process` that returns at once unless the variable `ROLE` is
//! set; `Process::start` runs that one test with the variable. What a role prints for the test
//! begins with `@ `, to tell it from what the test harness prints.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod claim;
pub(crate) mod server;
pub(crate) mod sockets;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Long enough for a process on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The command that runs a role.
pub(crate) fn role(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child_process", "--nocapture"])
        .env("ROLE", name);
    command
}

/// What `child_process` does: nothing unless this process was started in a role, or to check
/// itself: then it gives its opinion.
pub(crate) fn run_role() {
    let args: Vec<_> = std::env::args().collect();
    match args.iter().find_map(|arg| arg.strip_prefix("opinion-")) {
        Some("good") => return,
        Some("bad") => panic!("line 7: no such key"),
        Some("none") => std::thread::sleep(2 * PATIENCE),
        _ => {}
    }

    match std::env::var("ROLE").as_deref() {
        Ok("server") => server::run(),
        Ok("sockets") => sockets::run(),
        Ok("make") => claim::make(),
        Ok("claim") => claim::run(),
        Ok(other) => panic!("no role {other}"),
        Err(_) => {}
    }
}

/// Whether `tool` is there; if not, the test says so and passes, but in the gate it fails.
#[allow(clippy::print_stderr, reason = "for whoever runs the tests")]
pub(crate) fn has_tool(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(tool).exists()) {
        return true;
    }
    assert!(
        std::env::var_os("REQUIRE_TOOLS").is_none(),
        "missing: {tool}"
    );
    eprintln!("skipped: this test needs {tool}");
    false
}

/// An address of this process alone, so that a fixed port is nobody else's.
pub(crate) fn own_address(port: u16) -> String {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    format!("127.{a}.{b}.{c}:{port}")
}

/// Tells the test, from within a role.
pub(crate) fn say(line: impl std::fmt::Display) {
    // One write, so that two generations do not mix their lines.
    std::io::stdout()
        .write_all(format!("@ {line}\n").as_bytes())
        .unwrap();
}

/// A process and all the generations after it, which share its standard output.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    /// Lines that were read while another was waited for.
    skipped: Vec<String>,
    /// Generations that the test knows of, to be ended with it.
    pub(crate) pids: Vec<u32>,
}

impl Process {
    pub(crate) fn start(command: Command) -> Self {
        Self::start_with(Stdio::null(), command)
    }

    /// With something of its own as standard input.
    pub(crate) fn start_with(stdin: Stdio, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stdin(stdin).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // The harness prints the name of the test without a newline before it.
                if let Some((_, said)) = line.split_once("@ ") {
                    let _ = sender.send(said.to_owned());
                }
            }
        });
        let pids = vec![child.id()];
        Self {
            child,
            lines,
            skipped: Vec::new(),
            pids,
        }
    }

    /// The next line that begins with `start`, without it.
    pub(crate) fn line(&mut self, start: &str) -> String {
        if let Some(index) = self.skipped.iter().position(|line| line.starts_with(start)) {
            return self.skipped.remove(index)[start.len()..].trim().to_owned();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => match line.strip_prefix(start) {
                    Some(rest) => return rest.trim().to_owned(),
                    None => self.skipped.push(line),
                },
                Err(error) => panic!("no line {start:?}: {error}"),
            }
        }
    }

    /// Whether a line that begins with `start` has come by now; it is then taken.
    pub(crate) fn has_line(&mut self, start: &str) -> bool {
        self.skipped.extend(self.lines.try_iter());
        let found = self.skipped.iter().position(|line| line.starts_with(start));
        found.map(|index| self.skipped.remove(index)).is_some()
    }

    /// `ready PID GENERATION`.
    pub(crate) fn ready(&mut self) -> (u32, u32) {
        let line = self.line("ready ");
        let (pid, generation) = line.split_once(' ').unwrap();
        let (pid, generation) = (pid.parse().unwrap(), generation.parse().unwrap());
        self.pids.push(pid);
        (pid, generation)
    }

    /// Waits for the end of this process, not of its successors.
    pub(crate) fn exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None => assert!(Instant::now() < deadline, "the process does not end"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until no generation is left that could print anything.
    pub(crate) fn all_gone(&mut self) {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(error) => panic!("a generation is left: {error}"),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for pid in &self.pids {
            signal(*pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn process(pid: u32) -> Pid {
    Pid::from_raw(pid.try_into().unwrap()).unwrap()
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    assert!(pid > 1, "a test ends only what it started");
    let _ = kill_process(process(pid), signal);
}

/// Whether a process of that number exists; a zombie does.
pub(crate) fn exists(pid: u32) -> bool {
    test_kill_process(process(pid)).is_ok()
}

/// Waits until `done`, which has to come true by itself.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Connects to `IP:PORT`, `unix:/path` or `unix:@name`, sends a line and reads to the end.
pub(crate) fn ask(addr: &str, line: &str) -> std::io::Result<String> {
    fn talk(mut stream: impl Read + Write, line: &str) -> std::io::Result<String> {
        stream.write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.trim().to_owned())
    }
    match addr.strip_prefix("unix:") {
        None => {
            let stream = TcpStream::connect(addr)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            talk(stream, line)
        }
        Some(path) => {
            let stream = connect_unix(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            talk(stream, line)
        }
    }
}

pub(crate) fn connect_unix(path: &str) -> std::io::Result<UnixStream> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    match path.strip_prefix('@') {
        Some(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?),
        None => UnixStream::connect(path),
    }
}

/// A folder of its own for a test, removed in the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("gl-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How many descriptors a process has open.
pub(crate) fn open_fds(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

/// How many children of a process have ended and are not reaped.
pub(crate) fn zombies(pid: u32) -> usize {
    let is_zombie_of = |stat: &str| {
        // pid (name) state ppid …
        let after_name = stat.rsplit_once(") ")?.1;
        let mut fields = after_name.split(' ');
        Some(fields.next()? == "Z" && fields.next()? == pid.to_string())
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("stat")).ok())
        .filter(|stat| is_zombie_of(stat).unwrap_or(false))
        .count()
}
