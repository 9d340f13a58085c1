//! Which process this is, as those see it who pass descriptors to it.

use rustix::process::{Pid, getpid, getppid};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Me {
    pub(crate) pid: u32,
    /// Nothing for the first process of a container.
    pub(crate) parent: Option<u32>,
    /// The inode of this process's pidfd, which no other process ever has, where the kernel has
    /// such numbers.
    pub(crate) pidfd: Option<u64>,
}

impl Me {
    pub(crate) fn this() -> Self {
        let number = |pid: Pid| pid.as_raw_nonzero().get().unsigned_abs();
        Self {
            pid: number(getpid()),
            parent: getppid().map(number),
            pidfd: pidfd_inode(),
        }
    }
}

/// Linux numbers processes so since 6.9; before, all pidfds had the same inode, of another file
/// system. pidfd_open(2).
#[cfg(target_os = "linux")]
fn pidfd_inode() -> Option<u64> {
    const PIDFS: u64 = 0x5049_4446;
    let pidfd = rustix::process::pidfd_open(getpid(), rustix::process::PidfdFlags::empty()).ok()?;
    let of_pidfs = u64::try_from(rustix::fs::fstatfs(&pidfd).ok()?.f_type) == Ok(PIDFS);
    of_pidfs.then_some(rustix::fs::fstat(&pidfd).ok()?.st_ino)
}

#[cfg(not(target_os = "linux"))]
fn pidfd_inode() -> Option<u64> {
    None
}
