//! The life of a successor: a child of this process, which is reaped, or a process that somebody
//! else started, of which only the end can be seen.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::io::unix::AsyncFd;
use tokio::process::Child;
use tokio::time::sleep;

#[derive(Debug)]
pub(super) enum Life {
    Child(Child),
    /// A child of this process from before it executed itself anew.
    Adopted(Adopted),
    /// With its pidfd, if the system has such and it is in a process namespace that we see.
    Stranger(Option<AsyncFd<OwnedFd>>),
}

impl Life {
    pub(super) fn of_stranger(pid: u32) -> Self {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        Self::Stranger(pid.and_then(platform::watch))
    }

    /// A process that was a child of this one before an exec, and so still is.
    pub(super) fn of_adopted(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let pidfd = platform::watch(pid);
        let status = None;
        Some(Self::Adopted(Adopted { pid, pidfd, status }))
    }

    pub(super) fn is_child(&self) -> bool {
        !matches!(self, Self::Stranger(_))
    }

    /// Waits for the end, without bound; for ever, if it is one that cannot be seen. How a
    /// stranger ended only its parent learns. Cancel safe.
    pub(super) async fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        match self {
            Self::Child(child) => child.wait().await.map(Some),
            Self::Adopted(child) => child.wait().await.map(Some),
            Self::Stranger(Some(pidfd)) => {
                pidfd.readable().await?.retain_ready();
                Ok(None)
            }
            Self::Stranger(None) => std::future::pending().await,
        }
    }

    /// The exit status of a child that has ended.
    pub(super) fn try_ended(&mut self) -> Option<ExitStatus> {
        match self {
            Self::Child(child) => child.try_wait().ok().flatten(),
            Self::Adopted(child) => child.try_wait().ok().flatten(),
            Self::Stranger(_) => None,
        }
    }

    /// SIGTERM. The number is a child's own until it is reaped, and that only we do.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Any signal, to a child.
    pub(super) fn signal(&self, signal: Signal) {
        let pid = match self {
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
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// What is known of a child that no `Child` stands for.
#[derive(Debug)]
pub(super) struct Adopted {
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
    use rustix::process::{PidfdFlags, pidfd_open};
    use tokio::io::Interest;

    use super::*;
    use crate::reactor::register;

    /// pidfd_open(2): readable once the process has ended, whatever becomes of its number.
    pub(super) fn watch(pid: Pid) -> Option<AsyncFd<OwnedFd>> {
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        register(pidfd, Interest::READABLE).ok()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod platform {
    use super::*;

    pub(super) fn watch(_pid: Pid) -> Option<AsyncFd<OwnedFd>> {
        None
    }
}
