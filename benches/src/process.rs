//! A server as a process, and what the kernel says of it.

use std::{
    fs,
    io::{self, Error},
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// A process that ends with this value at the latest.
#[derive(Debug)]
pub struct Server {
    child: Child,
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

    /// Waits for its end.
    ///
    /// # Errors
    /// If it takes too long.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if began.elapsed() > PATIENCE {
                return Err(Error::other("the server does not end"));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// How often it has gone to sleep by itself. Its only thread, if it has one.
    ///
    /// # Errors
    /// If it has gone.
    pub fn sleeps(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
            .and_then(|count| count.trim().parse().ok())
            .ok_or_else(|| Error::other("no such line in /proc/PID/status"))
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
