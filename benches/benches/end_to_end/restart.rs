//! Restarts under load: the longest that a client waits, and what is lost.

use std::{
    io::{self, BufRead, BufReader, Error},
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use graceful_benches::{
    process::{Server, listener},
    wire::{Client, Protocol},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{
    contestant::{Contestant, OURS, Setting},
    drain::millis,
};

const CLIENTS: usize = 2;
/// Between two restarts.
const PAUSE: Duration = Duration::from_millis(100);

const SETTING: Setting = Setting {
    workers: 1,
    pinned: false,
    at_once: false,
    piped: true,
};

/// Longest answer in milliseconds and requests without one: without restarts, then with them.
pub(super) fn measure(contestant: Contestant, restarts: usize) -> io::Result<Vec<f64>> {
    let quiet = run(contestant, restarts, |_, _| Ok(()))?;
    let restarted = run(contestant, restarts, |generations, listener| {
        generations.restart(contestant, listener)
    })?;
    Ok(vec![
        millis(quiet.longest),
        millis(restarted.longest),
        quiet.lost as f64,
        restarted.lost as f64,
    ])
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    longest: Duration,
    lost: u64,
}

fn run(
    contestant: Contestant,
    restarts: usize,
    mut restart: impl FnMut(&mut Generations, &TcpListener) -> io::Result<()>,
) -> io::Result<Seen> {
    let (listener, addr) = listener()?;
    let mut generations = Generations::start(contestant, &listener)?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| ask_until(&over, addr)))
            .collect();
        let restarted = (0..restarts).try_for_each(|_| {
            thread::sleep(PAUSE);
            restart(&mut generations, &listener)
        });
        thread::sleep(PAUSE);
        over.store(true, Relaxed);
        let mut seen = Seen::default();
        for client in clients {
            let one = client
                .join()
                .map_err(|_| Error::other("a client panicked"))?;
            seen.longest = seen.longest.max(one.longest);
            seen.lost += one.lost;
        }
        restarted.map(|()| seen)
    })
}

/// A new connection for every request.
fn ask_until(over: &AtomicBool, addr: SocketAddr) -> Seen {
    let mut seen = Seen::default();
    while !over.load(Relaxed) {
        let began = Instant::now();
        let answered =
            Client::connect(addr, Protocol::Http1).and_then(|mut client| client.request(true));
        match answered {
            Ok(()) => seen.longest = seen.longest.max(began.elapsed()),
            Err(_) => seen.lost += 1,
        }
    }
    seen
}

/// The processes of one server. When this is dropped, none is left.
struct Generations {
    /// Those that this process has started.
    started: Vec<Server>,
    /// What they and their successors write.
    lines: Box<dyn BufRead>,
    /// Every process there has been, also those that another one started.
    processes: Vec<OwnedFd>,
}

impl Generations {
    fn start(contestant: Contestant, listener: &TcpListener) -> io::Result<Self> {
        let mut generations = Self {
            started: Vec::new(),
            lines: Box::new(io::empty()),
            processes: Vec::new(),
        };
        generations.add(contestant, listener)?;
        Ok(generations)
    }

    /// A new process on the listener. Returns when it accepts.
    fn add(&mut self, contestant: Contestant, listener: &TcpListener) -> io::Result<()> {
        let mut server = contestant.start(listener, SETTING)?;
        if let Some(stdout) = server.stdout() {
            self.lines = Box::new(BufReader::new(stdout));
        }
        self.started.push(server);
        self.await_next()
    }

    fn await_next(&mut self) -> io::Result<()> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::other("a generation did not come up"))?;
        self.processes.push(pidfd_open(pid, PidfdFlags::empty())?);
        Ok(())
    }

    /// The next generation serves, and the one before is told to go: by ourselves, where we do it for our users.
    fn restart(&mut self, contestant: Contestant, listener: &TcpListener) -> io::Result<()> {
        if contestant == OURS {
            self.signal_last(Signal::HUP)?;
            return self.await_next();
        }
        let old = self.processes.len() - 1;
        self.add(contestant, listener)?;
        Ok(pidfd_send_signal(&self.processes[old], Signal::TERM)?)
    }

    fn signal_last(&self, signal: Signal) -> io::Result<()> {
        match self.processes.last() {
            Some(last) => Ok(pidfd_send_signal(last, signal)?),
            None => Err(Error::other("nothing was started")),
        }
    }
}

/// How long they may take to drain, before they are killed.
const DRAIN: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

impl Drop for Generations {
    fn drop(&mut self) {
        // Most have gone long ago, and cannot be signalled.
        for process in &self.processes {
            let _ = pidfd_send_signal(process, Signal::TERM);
        }
        for process in &self.processes {
            let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&DRAIN));
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
    }
}
