//! The socket between two generations: frames in, frames out, and the end of either side.
//!
//! The kernel does the book-keeping of life and death: when a process ends, however it ends, the
//! other one reads the end of the stream.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::io::Interest;

use super::inbox::{Filled, Inbox, Message};
use super::outbox::Outbox;
use crate::error::HandoffError;
use crate::protocol::frame::{CAP, Frame};
use crate::reactor::register;

/// Reads of a look at what waits, of 8 KiB each.
const MOST_WAITING: usize = 64;
const EITHER: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A frame with the descriptors that go with it.
pub(crate) type Parcel = (Frame, Vec<Arc<OwnedFd>>);

#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
    outbox: Mutex<Outbox>,
    /// One reader at a time.
    inbox: tokio::sync::Mutex<Inbox>,
}

impl Channel {
    /// Wraps one end, which has to be non-blocking and close-on-exec.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            outbox: Mutex::default(),
            inbox: tokio::sync::Mutex::default(),
        }
    }

    /// A channel and the end for the other process.
    pub(crate) fn pair() -> std::io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        Ok((Self::new(ours.into()), theirs.into()))
    }

    /// Sends a frame, or as much of it as there is room for: the rest goes with the next `post`
    /// or while `recv` waits. Returns whether all is sent.
    pub(crate) fn post(&self, frame: &Frame, fds: Vec<Arc<OwnedFd>>) -> Result<bool, HandoffError> {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        outbox.push(frame, fds);
        outbox
            .flush(self.socket.as_fd())
            .map_err(|error| HandoffError::io("send a frame", error))
    }

    /// Says of which listeners the other side is, or will be, the last to have them. What does not fit is left out: not to
    /// know is safe.
    pub(crate) fn say_sole(&self, mut names: Vec<String>) {
        let mut left = CAP;
        names.retain(|name| {
            left = left.saturating_sub(name.len() + 8);
            left > 0
        });
        if !names.is_empty() {
            let _ = self.post(&Frame::Sole { names }, Vec::new());
        }
    }

    /// Sends frames in their order. If nobody takes them, whoever waits for an answer finds out why.
    pub(crate) fn post_all(&self, parcels: &[Parcel]) {
        for (frame, fds) in parcels {
            let _ = self.post(frame, fds.clone());
        }
    }

    /// Waits for the next frame; nothing when the other side is gone. Waits without bound.
    /// Cancel safe: what has been read or sent in part is kept.
    pub(crate) async fn recv(&self) -> Result<Option<Message>, HandoffError> {
        let mut inbox = self.inbox.lock().await;
        let watched = |error| HandoffError::io("watch the channel", error);
        // Registered for this wait only: the process may outlive the runtime it started with.
        let io = register(self.socket.as_fd(), EITHER).map_err(watched)?;
        loop {
            if let Some(message) = inbox.pop()? {
                return Ok(Some(message));
            }
            let interest = match self.flush() {
                true => Interest::READABLE,
                false => EITHER,
            };
            let mut guard = io.ready(interest).await.map_err(watched)?;
            match inbox.fill(self.socket.as_fd())? {
                Filled::Some => {}
                Filled::End => return Ok(None),
                Filled::NothingYet => guard.clear_ready(),
            }
        }
    }

    /// The same for the synchronous start of a successor, until `deadline`.
    pub(crate) fn recv_until(&self, deadline: Instant) -> Result<Option<Message>, HandoffError> {
        let busy = |_| HandoffError::protocol("the channel is being read already");
        let mut inbox = self.inbox.try_lock().map_err(busy)?;
        loop {
            if let Some(message) = inbox.pop()? {
                return Ok(Some(message));
            }
            self.wait_readable(deadline)?;
            if let Filled::End = inbox.fill(self.socket.as_fd())? {
                return Ok(None);
            }
        }
    }

    /// Says that somebody else has them as well.
    pub(crate) fn say_sole_of_none(&self) {
        let names = Vec::new();
        let _ = self.post(&Frame::Sole { names }, Vec::new());
    }

    /// The frames that have come and have not been received, which they still are to be. None while somebody
    /// receives, who then has them.
    pub(crate) fn waiting(&self) -> Vec<Frame> {
        let Ok(mut inbox) = self.inbox.try_lock() else {
            return Vec::new();
        };
        // More than this nobody sends without an answer.
        for _ in 0..MOST_WAITING {
            if !matches!(inbox.fill(self.socket.as_fd()), Ok(Filled::Some)) {
                break;
            }
        }
        inbox.waiting().collect()
    }

    /// Returns whether nothing is left to send. A peer that is gone takes nothing more, and that
    /// it is gone is for the reader to find out, after what it had sent before.
    fn flush(&self) -> bool {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        outbox.flush(self.socket.as_fd()).unwrap_or(true)
    }

    /// Whether there is something that has not been read, if only the end.
    pub(crate) fn has_unread(&self) -> bool {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        let now = Timespec::default();
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Whether the other side is gone, read or not: poll(2) says so of a socket whose peer closed.
    pub(crate) fn is_closed(&self) -> bool {
        let mut fds = [PollFd::new(&self.socket, PollFlags::empty())];
        let now = Timespec::default();
        poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
    }

    fn wait_readable(&self, deadline: Instant) -> Result<(), HandoffError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(HandoffError::silent_predecessor());
        }
        let timeout = Timespec::try_from(left).ok();
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(HandoffError::io("wait for the predecessor", error.into())),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests;
