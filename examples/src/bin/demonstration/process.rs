//! One generation of the server, held by its pidfd.
//!
//! Only the first generation is our child; the others are born of their predecessors. As the
//! subreaper we become the parent of each one whose predecessor has ended, so the exit status of
//! every generation reaches us.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, getpid, pidfd_open,
    pidfd_send_signal, set_child_subreaper, test_kill_process, waitid,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// A running process. The pidfd stays its own even when the number is used again.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    fd: OwnedFd,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It returned this status.
    Status(i32),
    /// A signal ended it.
    Signal(i32),
    /// Its parent took the status before we could.
    Unknown,
}

/// Makes the orphans among our descendants our children.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

impl Process {
    pub(crate) fn open(pid: Pid) -> io::Result<Self> {
        Ok(Self {
            pid,
            fd: pidfd_open(pid, PidfdFlags::empty())?,
        })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.fd, signal)?)
    }

    /// Resolves when the process has ended.
    pub(crate) async fn exited(&self) -> io::Result<Exit> {
        let mut children = signal(SignalKind::child())?;
        loop {
            if let Some(exit) = self.try_exited() {
                return Ok(exit);
            }
            // Its end is signalled to us only if its predecessor has ended before, which is all but
            // certain.
            let _ = timeout(Duration::from_millis(50), children.recv()).await;
        }
    }

    fn try_exited(&self) -> Option<Exit> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.fd.as_fd()), options) {
            Ok(status) => status.as_ref().map(Exit::of),
            // Not our child yet, or its parent has already taken the status.
            Err(_) => test_kill_process(self.pid)
                .is_err()
                .then_some(Exit::Unknown),
        }
    }
}

impl Exit {
    fn of(status: &WaitIdStatus) -> Self {
        let signalled = || status.terminating_signal().map(Self::Signal);
        let exited = status.exit_status().map(Self::Status);
        exited.or_else(signalled).unwrap_or(Self::Unknown)
    }

    pub(crate) fn is_success(self) -> bool {
        self == Self::Status(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}
