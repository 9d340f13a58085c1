//! The process that created the channel, as the new process sees it: the end of a channel alone does not prove that the old
//! process is dead. Guards law 9.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, PoisonError},
};

/// The old process, if it can be watched: it started this process on a system with pidfds, and is in a PID namespace that
/// is visible here. Otherwise the end of the channel counts as its end.
#[derive(Debug, Default)]
pub(crate) struct Creator(Mutex<Option<OwnedFd>>);

/// Why a process must not serve whose predecessor has closed the channel and is not dead.
pub(crate) const SILENT_END: &str =
    "the old process has closed the channel without COMMIT and still runs; it serves on";

impl Creator {
    /// The channel has to be one end of a socketpair: only there does SO_PEERCRED name the process that created it.
    /// Where it names this process, that has executed itself anew.
    pub(crate) fn of(channel: impl AsFd) -> Self {
        Self(Mutex::new(platform::watch(channel)))
    }

    /// Whether the old process still runs, although it has closed the channel. A process that is ending closes its
    /// descriptors first; so this blocks the thread until it has ended, five seconds at most.
    pub(crate) fn lives(&self) -> bool {
        self.take()
            .is_some_and(|pidfd| !platform::has_ended(&pidfd))
    }

    /// This process owns the service, whether the old process is dead or not: the descriptor is closed.
    pub(crate) fn forget(&self) {
        drop(self.take());
    }

    fn take(&self) -> Option<OwnedFd> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod platform {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::retry_on_intr;
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    use super::*;
    use crate::sys;

    const END_TO_EXIT: Timespec = Timespec {
        tv_sec: 5,
        tv_nsec: 0,
    };

    pub(crate) fn watch(channel: impl AsFd) -> Option<OwnedFd> {
        let pid = sys::peer(channel)?;
        let another = pid != getpid();
        another.then(|| pidfd_open(pid, PidfdFlags::empty()).ok())?
    }

    /// A pidfd is readable once its process has ended. pidfd_open(2)
    pub(crate) fn has_ended(pidfd: &OwnedFd) -> bool {
        let mut ended = [PollFd::new(pidfd, PollFlags::IN)];
        !matches!(
            retry_on_intr(|| poll(&mut ended, Some(&END_TO_EXIT))),
            Ok(0)
        )
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod platform {
    use super::*;

    pub(crate) fn watch(_channel: impl AsFd) -> Option<OwnedFd> {
        None
    }

    pub(crate) fn has_ended(_pidfd: &OwnedFd) -> bool {
        true
    }
}
