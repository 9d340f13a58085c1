//! A server as a process, and what the kernel says of it.

use std::{
    fs,
    io::{self, Error},
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{
        Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, kill_process, pidfd_open, setrlimit,
    },
};

/// A process that ends with this value at the latest.
#[derive(Debug)]
pub struct Server {
    child: Child,
}

/// The program that serves as `kind`: it is built where `program`, another one of this package, is.
pub fn serving(kind: &str, program: impl AsRef<Path>) -> PathBuf {
    program.as_ref().with_file_name(format!("serve-{kind}"))
}

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

impl Server {
    /// Starts `command` with `listener` as its standard input.
    ///
    /// # Errors
    /// Those of starting a process.
    pub fn start(command: &mut Command, listener: &TcpListener) -> io::Result<Self> {
        let stdin = OwnedFd::from(listener.try_clone()?);
        let child = command.stdin(stdin).spawn()?;
        Ok(Self { child })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it has gone.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits for its end: returns within microseconds of it.
    ///
    /// # Errors
    /// If it takes too long.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let pidfd = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        let ended = &mut [PollFd::new(&pidfd, PollFlags::IN)];
        match poll(
            ended,
            Some(&Timespec::try_from(PATIENCE).map_err(Error::other)?),
        )? {
            0 => Err(Error::other("the server does not end")),
            _ => self.child.wait(),
        }
    }

    /// What it writes, if that was asked for.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The CPU time of all its threads.
    ///
    /// # Errors
    /// If it has gone.
    pub fn cpu(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let first = text.split(' ').next().and_then(|n| n.parse::<u64>().ok());
            nanos += first.ok_or_else(|| Error::other("no numbers in schedstat"))?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Its memory that is no file's, in bytes.
    ///
    /// # Errors
    /// If it has gone.
    pub fn memory(&self) -> io::Result<u64> {
        Ok(self.status("RssAnon:")? * 1024)
    }

    /// How often it has gone to sleep by itself. Its only thread, if it has one.
    ///
    /// # Errors
    /// If it has gone.
    pub fn sleeps(&self) -> io::Result<u64> {
        self.status("voluntary_ctxt_switches:")
    }

    fn status(&self, name: &str) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|value| value.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| Error::other(format!("no {name} in /proc/PID/status")))
    }

    fn is_asleep(&self) -> io::Result<bool> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        // The name, in parentheses, may contain anything.
        let state = stat.rsplit(')').next().map(str::trim_start);
        Ok(state.is_some_and(|state| state.starts_with('S')))
    }

    /// Waits until it sleeps.
    ///
    /// # Errors
    /// If it has gone, or takes too long.
    pub fn asleep(&self) -> io::Result<()> {
        self.until(|| self.is_asleep())
    }

    /// Waits until it sleeps and has been awake since it had slept `before` times.
    ///
    /// # Errors
    /// If it has gone, or takes too long.
    pub fn asleep_again(&self, before: u64) -> io::Result<()> {
        self.until(|| Ok(self.sleeps()? > before && self.is_asleep()?))
    }

    fn until(&self, done: impl Fn() -> io::Result<bool>) -> io::Result<()> {
        let began = Instant::now();
        while !done()? {
            if began.elapsed() > PATIENCE {
                return Err(Error::other("the server does not come to rest"));
            }
            thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A listener on a free port of the loopback, with a queue as long as the system allows.
///
/// # Errors
/// Those of the socket.
pub fn listener() -> io::Result<(TcpListener, SocketAddr)> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&any.into())?;
    socket.listen(4096)?;
    let listener = TcpListener::from(socket);
    let addr = listener.local_addr()?;
    Ok((listener, addr))
}

/// Lets this process open as many files as the system allows, and says how many.
///
/// # Errors
/// Those of the system.
pub fn raise_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}
