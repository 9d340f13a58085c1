//! The only room of the workspace with `unsafe` in it: the two operations of a hand-over by
//! exec that no safe interface can offer, a fork without exec, and two questions to a socket. Guards
//! laws 8 and 12.

#![allow(
    unsafe_code,
    reason = "each of the blocks is one operation with its reason"
)]

use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::Pid;
use tokio::process::Command;

/// A descriptor that came through exec under a number and is not yet anybody's.
///
/// Dropping it leaves the descriptor open, as it was: a number that turns out not to be the
/// socket it was said to be may well be somebody else's.
#[derive(Debug)]
pub(crate) struct Inherited(ManuallyDrop<OwnedFd>);

impl Inherited {
    /// Looks at a number and says with which flags it is open.
    ///
    /// # Errors
    ///
    /// `EBADF` when it is not open, or not a number a descriptor of ours can have.
    pub(crate) fn look(number: RawFd) -> io::Result<(Self, FdFlags)> {
        if number < 3 {
            return Err(rustix::io::Errno::BADF.into());
        }
        // SAFETY: nothing is closed through this value unless `into_owned` is called, and the
        // next line turns a number that is not open into an error. That an open one belongs to
        // nobody else is what `inherited::numbers` makes sure of before `into_owned`: it was
        // inherited at exec (no FD_CLOEXEC) and is taken once. fcntl(2), execve(2).
        let fd = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
        let flags = fcntl_getfd(&*fd)?;
        Ok((Self(fd), flags))
    }

    /// Takes possession.
    pub(crate) fn into_owned(self) -> OwnedFd {
        ManuallyDrop::into_inner(self.0)
    }
}

impl AsFd for Inherited {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Lets `fd` through the exec of `command`, and through no other: the flag is cleared in the
/// child, between fork and exec, so no process that another thread starts meanwhile gets it.
/// The command owns the descriptor from here on. The child runs `first` there, too.
///
/// `first` may only make system calls: no allocation, no lock, no panic (signal-safety(7)). That is
/// for its author to see to, and why this is for [`Claim::say`](crate::notify::Claim::say) alone.
pub(crate) fn pass_through_exec(
    command: &mut Command,
    fd: OwnedFd,
    first: impl Fn() + Send + Sync + 'static,
) {
    let between = move || {
        first();
        Ok(fcntl_setfd(&fd, FdFlags::empty())?)
    };
    // SAFETY: after the fork only fcntl(2) and the getpid(2), socket(2), sendto(2) and close(2) of
    // `Claim::say` run, which are async-signal-safe; neither allocates nor locks, and `io::Error`
    // from an errno is a plain number. signal-safety(7).
    unsafe { command.pre_exec(between) };
}

/// Runs `child` in a child process, which is a copy of this one with this thread alone, and ends that with status 0 when
/// `child` returns. Of the descriptors it has only `keep`, from Linux 5.9 on, and no signal but SIGKILL reaches it.
///
/// The kernel copies the page tables, tens of milliseconds for each gigabyte in use, as it does when a successor is started.
/// Sharing the memory instead (vfork(2)) would stop this thread until the child ends.
///
/// `child` may only make system calls: no allocation, no lock, no panic (signal-safety(7)). That is for its author to see
/// to, and why this is for [`StandIn`](crate::notify::StandIn) alone.
///
/// # Errors
///
/// Those of fork(2).
pub(crate) fn fork(keep: BorrowedFd<'_>, child: impl FnOnce()) -> io::Result<Pid> {
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: it writes the set that it is given. sigfillset(3).
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // So that no handler of this program runs in the child.
    // SAFETY: the first set was written above, the second is written here. pthread_sigmask(3).
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    // SAFETY: what follows in the child are system calls until it ends. fork(2), signal-safety(7).
    let forked = unsafe { libc::fork() };
    if forked == 0 {
        close_all_but(keep.as_raw_fd());
        child();
        // SAFETY: it runs no destructors and no handlers of this program. _exit(2).
        unsafe { libc::_exit(0) };
    }
    let failed = io::Error::last_os_error();
    // SAFETY: the set is the one that was written above. pthread_sigmask(3).
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    match forked {
        1.. => Pid::from_raw(forked).ok_or(failed),
        _ => Err(failed),
    }
}

/// In a child that uses no other: a connection that the parent closes must be closed. An older Linux refuses.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn close_all_but(keep: RawFd) {
    let around = [(0, keep - 1), (keep + 1, RawFd::MAX)];
    for (first, last) in around.into_iter().filter(|(first, last)| first <= last) {
        // SAFETY: of the descriptors that are closed none is used in this process from here on. close_range(2).
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn close_all_but(_keep: RawFd) {}

/// The process that created the other end of a socketpair, if it is visible in this PID namespace: SO_PEERCRED, unix(7).
/// `rustix` has no place for the PID 0 of a process that is not.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn peer(socket: impl AsFd) -> Option<Pid> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut size = libc::socklen_t::try_from(size_of::<libc::ucred>()).ok()?;
    // SAFETY: `peer` is as large as `size` says, and any bytes are a value of it. getsockopt(2).
    let answer = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut size,
        )
    };
    Pid::from_raw(peer.pid).filter(|_| answer == 0)
}

/// How many bytes the peer's system has not acknowledged yet: SIOCOUTQ, tcp(7) and unix(7). An error where it cannot be
/// asked, or has another number.
#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "arm",
        target_arch = "riscv64",
        target_arch = "s390x"
    )
))]
pub(crate) fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<usize> {
    use rustix::ioctl::{Getter, Opcode, ioctl};
    const SIOCOUTQ: Opcode = 0x5411;
    // SAFETY: the opcode is one that writes an int, and nothing else, where it is told to. sockios.h.
    let question = unsafe { Getter::<SIOCOUTQ, std::ffi::c_int>::new() };
    // SAFETY: as above; a descriptor that is no socket or terminal answers with an error.
    let bytes = unsafe { ioctl(socket, question) }?;
    usize::try_from(bytes).map_err(io::Error::other)
}

#[cfg(not(all(
    any(target_os = "linux", target_os = "android"),
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "arm",
        target_arch = "riscv64",
        target_arch = "s390x"
    )
)))]
pub(crate) fn unacknowledged(_socket: BorrowedFd<'_>) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
