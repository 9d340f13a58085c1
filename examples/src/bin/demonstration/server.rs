//! The server as a process: started, restarted by SIGHUP, stopped by SIGTERM, and killed whatever
//! happens to us.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::lines::{self, Line, Tail};
use crate::process::{Exit, Process, adopt_orphans};

/// The running server. Dropping it kills every generation that is still alive.
#[derive(Debug)]
pub(crate) struct Server {
    listen: SocketAddr,
    admin: SocketAddr,
    current: Generation,
    /// Generations that have not been seen to end.
    alive: Alive,
    lines: mpsc::Receiver<Line>,
    log: Tail,
}

/// One generation: its number and its process.
#[derive(Clone, Debug)]
pub(crate) struct Generation {
    pub(crate) number: u32,
    process: Arc<Process>,
}

impl Server {
    /// Starts the first generation, and returns when it serves.
    pub(crate) async fn start(path: &Path, flags: &[String]) -> Result<Self, Failure> {
        adopt_orphans().map_err(Failure::of("cannot become the parent of orphans"))?;
        let mut child = command(path, flags)
            .spawn()
            .map_err(Failure::of(format!("cannot start {}", path.display())))?;
        let mut alive = Alive::new(Pid::from_child(&child));
        let process = alive.add(alive.group)?;
        let (mut lines, log) = follow(&mut child)?;
        let started = tokio::select! {
            started = timeout(START, started(&mut lines)) => started.ok().flatten(),
            _ = process.exited() => None,
        };
        let Some((listen, admin, number)) = started else {
            return Err(unready(log).await);
        };
        let current = Generation { number, process };
        Ok(Self {
            listen,
            admin,
            current,
            alive,
            lines,
            log,
        })
    }

    /// Where requests go.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where the status is asked.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The generation that serves.
    pub(crate) fn current(&self) -> &Generation {
        &self.current
    }

    /// The last lines of standard error.
    pub(crate) fn log(&self) -> Tail {
        self.log.clone()
    }

    /// Asks for a restart, and returns when a successor serves. Its predecessor is then still to
    /// end.
    pub(crate) async fn restart(&mut self) -> Result<(), Failure> {
        self.signal(Signal::HUP)?;
        let Ok(ready) = timeout(READY, ready(&mut self.lines)).await else {
            return Err(Failure::new(format!(
                "no successor was ready within {READY:?}"
            )));
        };
        let (pid, number) =
            ready.ok_or_else(|| Failure::new("the server ended instead of restarting"))?;
        if number != self.current.number + 1 {
            let old = self.current.number;
            return Err(Failure::new(format!(
                "generation {number} came after generation {old}"
            )));
        }
        self.current = Generation {
            number,
            process: self.alive.add(pid)?,
        };
        Ok(())
    }

    /// Asks the serving generation to stop.
    pub(crate) fn stop(&self) -> Result<(), Failure> {
        self.signal(Signal::TERM)
    }

    /// Waits for the end of a generation that was told to end.
    pub(crate) async fn ended(&mut self, generation: &Generation) -> Result<Exit, Failure> {
        let Ok(exit) = timeout(END, generation.process.exited()).await else {
            let number = generation.number;
            return Err(Failure::new(format!(
                "generation {number} did not end within {END:?}"
            )));
        };
        self.alive
            .processes
            .retain(|process| !Arc::ptr_eq(process, &generation.process));
        exit.map_err(Failure::of("cannot wait for the server"))
    }

    fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let Generation { number, process } = &self.current;
        process
            .signal(signal)
            .map_err(Failure::of(format!("cannot signal generation {number}")))
    }
}

impl Generation {
    pub(crate) fn pid(&self) -> i32 {
        self.process.pid().as_raw_nonzero().get()
    }
}

/// Kills what is left. The first generation leads a process group of its own, which also holds a
/// successor that is not ready yet; a successor that has left the group is known by its own pidfd.
#[derive(Debug)]
struct Alive {
    group: Pid,
    processes: Vec<Arc<Process>>,
}

impl Alive {
    fn new(group: Pid) -> Self {
        let processes = Vec::new();
        Self { group, processes }
    }

    fn add(&mut self, pid: Pid) -> Result<Arc<Process>, Failure> {
        let process = Process::open(pid).map_err(Failure::of("cannot watch the server"))?;
        let process = Arc::new(process);
        self.processes.push(Arc::clone(&process));
        Ok(process)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        // With nobody alive the group's number may belong to somebody else.
        if self.processes.is_empty() {
            return;
        }
        let _ = kill_process_group(self.group, Signal::KILL);
        for process in &self.processes {
            let _ = process.signal(Signal::KILL);
        }
    }
}

fn command(path: &Path, flags: &[String]) -> Command {
    let mut command = Command::new(path);
    command
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

fn follow(child: &mut Child) -> Result<(mpsc::Receiver<Line>, Tail), Failure> {
    let pipes = child.stdout.take().zip(child.stderr.take());
    let (stdout, stderr) = pipes.ok_or_else(|| Failure::new("the server has no pipes"))?;
    let followed =
        lines::follow(stdout.into()).and_then(|lines| Ok((lines, Tail::follow(stderr.into())?)));
    followed.map_err(Failure::of("cannot read what the server says"))
}

/// The two addresses, in the order of the flags, and the generation.
async fn started(lines: &mut mpsc::Receiver<Line>) -> Option<(SocketAddr, SocketAddr, u32)> {
    let mut addresses = Vec::new();
    loop {
        match lines.recv().await? {
            Line::Listening(address) => addresses.push(address),
            Line::Ready { generation, .. } => {
                return Some((*addresses.first()?, *addresses.get(1)?, generation));
            }
        }
    }
}

async fn ready(lines: &mut mpsc::Receiver<Line>) -> Option<(Pid, u32)> {
    loop {
        if let Line::Ready { pid, generation } = lines.recv().await? {
            return Some((Pid::from_raw(pid)?, generation));
        }
    }
}

async fn unready(mut log: Tail) -> Failure {
    log.complete().await;
    let said = log.lines().join("\n  ");
    Failure::new(format!(
        "the server did not become ready; it said:\n  {said}"
    ))
}

const START: Duration = Duration::from_secs(30);
/// More than the server's own limit for a successor, so that its report comes first.
const READY: Duration = Duration::from_secs(70);
/// More than the longest drain that a profile allows.
const END: Duration = Duration::from_secs(60);
