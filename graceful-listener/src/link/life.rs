//! The life of a successor. It is a child of this process, which is reaped, or a process that such a child started, or an
//! unrelated process. Of an unrelated process only the end can be observed.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;
use std::{fs, io};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::io::unix::AsyncFd;
use tokio::process::Child;
use tokio::time::sleep;

#[derive(Debug)]
pub(crate) enum Life {
    Child(Child),
    /// A child of this process from before it executed itself anew.
    Adopted(Adopted),
    /// A process that our child started, with its pidfd: our child was a launcher.
    Launched(AsyncFd<OwnedFd>),
    /// With its pidfd, if the system has such and it is in a process namespace that we see.
    Stranger(Option<AsyncFd<OwnedFd>>),
}

impl Life {
    pub(crate) fn of_stranger(pid: u32) -> Self {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        Self::Stranger(pid.and_then(platform::watch))
    }

    /// The process `pid` if it has the socket `inode` open. A PID alone proves nothing: the process that sent it may
    /// be in another PID namespace.
    pub(crate) fn of_launched(pid: u32, inode: u64) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let pidfd = platform::watch(pid)?;
        has_socket(pid, inode).then_some(Self::Launched(pidfd))
    }

    /// A process that was a child of this one before an exec, and so still is.
    pub(crate) fn of_adopted(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let pidfd = platform::watch(pid);
        let status = None;
        Some(Self::Adopted(Adopted { pid, pidfd, status }))
    }

    /// Whether this process started it, through a launcher perhaps, and may end it.
    pub(crate) fn is_ours(&self) -> bool {
        !matches!(self, Self::Stranger(_))
    }

    /// Waits for the end of the process, without a timeout. If the end cannot be observed, this never completes. The exit
    /// status is known only if the process is a child of this one. Cancel safe.
    pub(crate) async fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        match self {
            Self::Child(child) => child.wait().await.map(Some),
            Self::Adopted(child) => child.wait().await.map(Some),
            Self::Launched(pidfd) | Self::Stranger(Some(pidfd)) => {
                pidfd.readable().await?.retain_ready();
                Ok(None)
            }
            Self::Stranger(None) => std::future::pending().await,
        }
    }

    /// The exit status of a child that has ended.
    pub(crate) fn try_ended(&mut self) -> Option<ExitStatus> {
        match self {
            Self::Child(child) => child.try_wait().ok().flatten(),
            Self::Adopted(child) => child.try_wait().ok().flatten(),
            Self::Launched(_) | Self::Stranger(_) => None,
        }
    }

    /// SIGTERM. The number is a child's own until it is reaped, and that only we do.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Any signal, to a process that is ours.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = match self {
            Self::Launched(pidfd) => return platform::signal(pidfd, signal),
            Self::Child(child) => child
                .id()
                .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)),
            Self::Adopted(child) => child.status.is_none().then_some(child.pid),
            Self::Stranger(_) => None,
        };
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    /// SIGKILL. A stranger is whoever started it to end.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Whether `/proc` shows the socket among the descriptors of the process. proc_pid_fd(5)
fn has_socket(pid: Pid, inode: u64) -> bool {
    let socket = PathBuf::from(format!("socket:[{inode}]"));
    let open = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()));
    let mut open = open.into_iter().flatten().flatten();
    open.any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == socket))
}

/// What is known of a child that no `Child` stands for.
#[derive(Debug)]
pub(crate) struct Adopted {
    pid: Pid,
    pidfd: Option<AsyncFd<OwnedFd>>,
    /// Once it is reaped, and its number may be somebody else's.
    status: Option<ExitStatus>,
}

impl Adopted {
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            match &self.pidfd {
                Some(pidfd) => pidfd.readable().await?.retain_ready(),
                None => sleep(LOOK).await,
            }
        }
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            let ended = waitpid(Some(self.pid), WaitOptions::NOHANG)?;
            self.status = ended.map(|(_, status)| ExitStatus::from_raw(status.as_raw()));
        }
        Ok(self.status)
    }
}

/// How often it is looked whether a child has ended, where there is no pidfd.
const LOOK: Duration = Duration::from_millis(200);

#[cfg(any(target_os = "linux", target_os = "android"))]
mod platform {
    use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
    use tokio::io::Interest;

    use super::*;
    use crate::reactor::register;

    /// pidfd_open(2): readable once the process has ended, whatever becomes of its number.
    pub(crate) fn watch(pid: Pid) -> Option<AsyncFd<OwnedFd>> {
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        register(pidfd, Interest::READABLE).ok()
    }

    pub(crate) fn signal(pidfd: &AsyncFd<OwnedFd>, signal: Signal) {
        let _ = pidfd_send_signal(pidfd.get_ref(), signal);
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod platform {
    use super::*;

    pub(crate) fn watch(_pid: Pid) -> Option<AsyncFd<OwnedFd>> {
        None
    }

    pub(crate) fn signal(_pidfd: &AsyncFd<OwnedFd>, _signal: Signal) {}
}
