//! Real processes for signal tests. A test starts its own binary again with its own name as filter:
//! in the child the same test runs the scenario, in the parent it talks to it by signals and reads
//! what it says, a line at a time, on standard error.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "all of this is test code"
)]

use std::any::type_name;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use rustix::process::{Pid, Signal, kill_process};

/// Only reached by a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const DEPTH: &str = "GRACEFUL_SIGNAL_TEST_DEPTH";

const BEGIN: &str = "the scenario begins";

/// How many processes above this one belong to the test: 0 in the test itself.
pub(crate) fn depth() -> u32 {
    env::var(DEPTH).map_or(0, |depth| depth.parse().unwrap())
}

/// The command that runs the test of `scenario` one process deeper.
pub(crate) fn deeper<S>(_scenario: &S) -> Command {
    // The type of a closure is named after the function it stands in: "process::a_test::{{closure}}".
    let test = type_name::<S>().split("::").nth(1).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(DEPTH, (depth() + 1).to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// In the child runs `scenario` and returns `None`; in the test starts the child.
pub(crate) fn child<F: Future<Output = ()>>(scenario: impl FnOnce() -> F) -> Option<Child> {
    if depth() > 0 {
        say(BEGIN);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(scenario());
        return None;
    }
    let child = Child::start(deeper(&scenario));
    // Without this a child that found no test to run would look like one that succeeded.
    child.says(BEGIN);
    Some(child)
}

/// Says a line to the test.
pub(crate) fn say(line: impl std::fmt::Display) {
    eprintln!("{line}");
}

pub(crate) struct Child {
    process: process::Child,
    lines: Receiver<String>,
}

impl Child {
    fn start(mut command: Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stderr.take().unwrap());
        let (line, lines) = channel();
        thread::spawn(move || {
            said.lines()
                .map_while(Result::ok)
                .try_for_each(|l| line.send(l))
        });
        Self { process, lines }
    }

    #[track_caller]
    pub(crate) fn says(&self, expected: &str) -> &Self {
        assert_eq!(self.lines.recv_timeout(PATIENCE).as_deref(), Ok(expected));
        self
    }

    pub(crate) fn send(&self, signal: Signal) -> &Self {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
        self
    }

    pub(crate) fn ends(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "the child neither ended nor was killed"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    pub(crate) fn is_killed_by(&mut self, signal: Signal) {
        let status = self.ends();
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
    }

    #[track_caller]
    pub(crate) fn succeeds(&mut self) {
        let status = self.ends();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
