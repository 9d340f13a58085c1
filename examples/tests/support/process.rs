//! A program under test as a process: its output line by line, its log, its end, and the ends of its successors.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, kill_process_group,
    set_child_subreaper, waitid,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{BOUND, until};

/// The first process and all that come after it. Dropping it kills what is left.
pub(crate) struct Process {
    pub(crate) first: Pid,
    lines: mpsc::UnboundedReceiver<String>,
    folder: PathBuf,
}

impl Process {
    #[allow(
        clippy::zombie_processes,
        reason = "`exit` and `drop` wait for it, by its number"
    )]
    pub(crate) fn start(program: &Path, args: &[&str]) -> Self {
        // The parent of whose parent has ended: so every generation's exit status comes to us.
        set_child_subreaper(Some(getpid())).unwrap();
        let folder = scratch();
        let mut child = Command::new(program)
            .args(args)
            .env("NO_COLOR", "1")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.join("log")).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        let first = Pid::from_child(&child);
        let lines = follow(child.stdout.take().unwrap());
        Self {
            first,
            lines,
            folder,
        }
    }

    /// A folder that lives as long as the process.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The next line of standard output.
    pub(crate) async fn line(&mut self) -> String {
        let line = timeout(BOUND, self.lines.recv()).await;
        line.unwrap_or_else(|_| panic!("no line within {BOUND:?}"))
            .expect("no more output")
    }

    /// What the log says so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// Waits until the log says `text` for the `nth` time.
    pub(crate) async fn logged(&self, nth: usize, text: &str) {
        until(&format!("{text:?} in the log, {nth} times"), async || {
            self.log().matches(text).count() >= nth
        })
        .await;
    }

    /// The exit status of the first process.
    pub(crate) async fn exit(&self) -> i32 {
        exit(self.first).await
    }
}

pub(crate) fn signal(pid: Pid, signal: Signal) {
    kill_process(pid, signal).unwrap();
}

/// Waits for the end of a process that is ours, or will be once its parent has ended. The status, or minus the signal
/// that ended it.
pub(crate) async fn exit(pid: Pid) -> i32 {
    let mut status = None;
    until(&format!("the end of process {pid:?}"), async || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        status = waitid(WaitId::Pid(pid), options).ok().flatten();
        status.is_some()
    })
    .await;
    let status = status.unwrap();
    let signalled = || status.terminating_signal().map(|signal| -signal);
    status.exit_status().or_else(signalled).unwrap()
}

fn follow(stdout: ChildStdout) -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

/// A new folder for one test.
pub(crate) fn scratch() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = format!(
        "{}-{}-{count}",
        env!("CARGO_CRATE_NAME"),
        std::process::id()
    );
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

impl Drop for Process {
    fn drop(&mut self) {
        // Every generation is in the group of the first. With nobody in it there is nothing to kill.
        let _ = kill_process_group(self.first, Signal::KILL);
        while let Ok(Some(_)) = waitid(WaitId::Pgid(Some(self.first)), WaitIdOptions::EXITED) {}
        if std::thread::panicking() {
            eprintln!("--- log of process {:?}\n{}", self.first, self.log());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
