//! The life of a successor: a child of this process, which is reaped, or a process that somebody
//! else started, of which only the end can be seen.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::unix::AsyncFd;
use tokio::process::Child;

#[derive(Debug)]
pub(super) enum Life {
    Child(Child),
    /// With its pidfd, if the system has such and it is in a process namespace that we see.
    Stranger(Option<AsyncFd<OwnedFd>>),
}

impl Life {
    pub(super) fn of_stranger(pid: u32) -> Self {
        Self::Stranger(platform::watch(pid))
    }

    pub(super) fn is_child(&self) -> bool {
        matches!(self, Self::Child(_))
    }

    /// Waits for the end, without bound; for ever, if it is one that cannot be seen. How a
    /// stranger ended only its parent learns. Cancel safe.
    pub(super) async fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        match self {
            Self::Child(child) => child.wait().await.map(Some),
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
            Self::Stranger(_) => None,
        }
    }

    /// SIGTERM. The number is a child's own until it is reaped, and that only we do.
    pub(super) fn terminate(&self) {
        if let Self::Child(child) = self {
            let pid = child.id().and_then(|id| i32::try_from(id).ok());
            if let Some(pid) = pid.and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    }

    /// SIGKILL. A stranger is whoever started it to end.
    pub(super) fn kill(&mut self) {
        if let Self::Child(child) = self {
            let _ = child.start_kill();
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod platform {
    use rustix::process::{PidfdFlags, pidfd_open};
    use tokio::io::Interest;

    use super::*;
    use crate::reactor::register;

    /// pidfd_open(2): readable once the process has ended, whatever becomes of its number.
    pub(super) fn watch(pid: u32) -> Option<AsyncFd<OwnedFd>> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        register(pidfd, Interest::READABLE).ok()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod platform {
    use super::*;

    pub(super) fn watch(_pid: u32) -> Option<AsyncFd<OwnedFd>> {
        None
    }
}
