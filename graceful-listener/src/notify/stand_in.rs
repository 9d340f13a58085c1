//! Having the service manager look anew at whose child this process is.
//!
//! systemd asks that only when it hears of another main process than the one it knows, and a
//! successor was its predecessor's child by then (`main_pid_alien`). So once the predecessor has
//! ended a stand-in, a child forked for that, is the main process for a moment. Each of the two
//! names the other, for with `NotifyAccess=main` only the main process is heard:
//!
//! 1. this process says `MAINPID=` of the stand-in, and tells the stand-in so;
//! 2. the stand-in says `MAINPID=` of this process, and tells this process so;
//! 3. it ends when the manager has read that, which finds its unit by its number.
//!
//! If this process is killed in between, the stand-in dies like it, and the manager sees a main
//! process that was killed.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SocketAddrUnix, SocketType,
    sendmsg_addr, sendto, socket,
};
use rustix::pipe::pipe;
use rustix::process::{Signal, getpid, kill_process};

use super::main_pid::MainPid;
use super::socket::Address;
use super::{Notify, NotifyState, state};
use crate::platform::SEND;
use crate::sys;

/// How long this process waits for the stand-in to speak, which blocks a thread.
const TURN: Duration = Duration::from_secs(1);
/// How long the stand-in waits for its turn, for room in the manager's queue, and until that is read.
const WITHIN: Duration = Duration::from_secs(5);

/// A child that has been the main process. It ends by itself, and at once when this is dropped.
#[derive(Debug)]
pub(crate) struct StandIn {
    pub(crate) pid: u32,
    /// Its end is that of this process, for the stand-in.
    life: UnixStream,
}

impl StandIn {
    /// Makes it the main process, and then this one again. Blocks until both have spoken, a little over a second at the
    /// most. If they cannot, this process says for itself that it is the one, and is to the manager what it was.
    ///
    /// # Errors
    ///
    /// Those of socketpair(2) and fork(2).
    pub(crate) fn change_places(manager: &Notify) -> io::Result<Self> {
        let Address::Socket(address) = &manager.address else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let (life, theirs) = UnixStream::pair()?;
        life.set_read_timeout(Some(TURN))?;
        theirs.set_read_timeout(Some(WITHIN))?;
        let message = state::message(&[NotifyState::MainPid(std::process::id())]);
        let pid = sys::fork(theirs.as_fd(), || {
            if stand_in(theirs.as_fd(), address, message.as_bytes()).is_err() {
                let _ = kill_process(getpid(), Signal::KILL);
            }
        })?;
        drop(theirs);
        let mut stand_in = Self {
            pid: pid.as_raw_nonzero().get().unsigned_abs(),
            life,
        };
        if stand_in.speak(manager).is_err() {
            // What it has not said by now it must not say later.
            let _ = kill_process(pid, Signal::KILL);
            MainPid::Own.tell();
        }
        Ok(stand_in)
    }

    fn speak(&mut self, manager: &Notify) -> io::Result<()> {
        manager.send(&[NotifyState::MainPid(self.pid)])?;
        self.life.write_all(b"1")?;
        self.life.read_exact(&mut [0])
    }
}

/// What it does. Only system calls, as [`sys::fork`] wants it.
fn stand_in(life: BorrowedFd<'_>, manager: &SocketAddrUnix, message: &[u8]) -> Result<(), Errno> {
    if read(life, &mut [0])? == 0 {
        return Err(Errno::PIPE);
    }
    let socket = socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(WITHIN))?;
    sendto(&socket, message, SEND, manager)?;
    write(life, b"1")?;
    let (read_by_manager, barrier) = pipe()?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let barriers = [barrier.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&barriers));
    let message = [IoSlice::new(b"BARRIER=1")];
    sendmsg_addr(&socket, manager, &message, &mut control, SEND)?;
    // The manager's is the last one, and it closes it when it has read what was said before.
    drop(barrier);
    let mut ends = [
        PollFd::new(&read_by_manager, PollFlags::IN),
        PollFd::new(&life, PollFlags::IN),
    ];
    let within = Timespec::try_from(WITHIN).map_err(|_| Errno::RANGE)?;
    poll(&mut ends, Some(&within))?;
    match ends[1].revents().is_empty() {
        true => Ok(()),
        false => Err(Errno::PIPE),
    }
}

/// With the sender of a message and with /proc, which only Linux has.
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
