//! The socket between two generations: frames in, frames out, and the end of either side.
//!
//! The kernel does the book-keeping of life and death: when a process ends, however it ends, the
//! other one reads the end of the stream.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::io::Interest;

use super::error::HandoffError;
use super::frame::Frame;
use super::inbox::{Filled, Inbox, Message};
use super::outbox::Outbox;
use crate::reactor::register;

const EITHER: Interest = Interest::READABLE.add(Interest::WRITABLE);

#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
    outbox: Mutex<Outbox>,
    /// One reader at a time.
    inbox: tokio::sync::Mutex<Inbox>,
}

impl Channel {
    /// Wraps one end, which has to be non-blocking and close-on-exec.
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket, outbox: Mutex::default(), inbox: tokio::sync::Mutex::default() }
    }

    /// A channel and the end for the other process.
    pub(super) fn pair() -> std::io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok((Self::new(ours), theirs))
    }

    /// Sends a frame, or as much of it as there is room for: the rest goes with the next `post`
    /// or while `recv` waits. Returns whether all is sent.
    pub(super) fn post(
        &self,
        frame: &Frame,
        fds: Vec<Arc<OwnedFd>>,
    ) -> Result<bool, HandoffError> {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        outbox.push(frame, fds);
        outbox.flush(self.socket.as_fd()).map_err(|error| HandoffError::io("send a frame", error))
    }

    /// Waits for the next frame; nothing when the other side is gone. Waits without bound.
    /// Cancel safe: what has been read or sent in part is kept.
    pub(super) async fn recv(&self) -> Result<Option<Message>, HandoffError> {
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
    pub(super) fn recv_until(&self, deadline: Instant) -> Result<Option<Message>, HandoffError> {
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

    /// Returns whether nothing is left to send. A peer that is gone takes nothing more, and that
    /// it is gone is for the reader to find out, after what it had sent before.
    fn flush(&self) -> bool {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        outbox.flush(self.socket.as_fd()).unwrap_or(true)
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    fn ends() -> (Channel, Channel) {
        let (one, other) = Channel::pair().unwrap();
        (one, Channel::new(other))
    }

    fn state(size: usize) -> Frame {
        Frame::State { schema: 1, more: false, blob: vec![7; size] }
    }

    #[tokio::test]
    async fn frames_arrive_in_order_and_then_the_end() {
        let (one, other) = ends();
        assert!(one.post(&Frame::Trigger, vec![]).unwrap());
        assert!(one.post(&Frame::Commit, vec![]).unwrap());
        drop(one);
        assert_eq!(other.recv().await.unwrap().unwrap().frame, Frame::Trigger);
        assert_eq!(other.recv().await.unwrap().unwrap().frame, Frame::Commit);
        assert!(other.recv().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn more_than_the_socket_holds_is_sent_while_waiting_for_an_answer() {
        let (one, other) = ends();
        let frames = 20;
        let sent = (0..frames).filter(|_| one.post(&state(60_000), vec![]).unwrap()).count();
        assert!(sent < frames, "the buffer takes everything: the test says nothing");
        let reader = async {
            for _ in 0..frames {
                assert_eq!(other.recv().await.unwrap().unwrap().frame, state(60_000));
            }
            other.post(&Frame::Commit, vec![]).unwrap();
        };
        let (answer, ()) = tokio::join!(one.recv(), reader);
        assert_eq!(answer.unwrap().unwrap().frame, Frame::Commit);
    }

    #[tokio::test]
    async fn a_receiver_that_is_dropped_in_the_middle_of_a_frame_loses_nothing() {
        let (one, other) = Channel::pair().unwrap();
        let mut other = UnixStream::from(other);
        let bytes = state(100).encode();
        std::io::Write::write_all(&mut other, &bytes[..50]).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(20), one.recv()).await.is_err());
        std::io::Write::write_all(&mut other, &bytes[50..]).unwrap();
        assert_eq!(one.recv().await.unwrap().unwrap().frame, state(100));
    }

    #[test]
    fn the_synchronous_wait_ends_at_its_deadline() {
        let (one, _other) = ends();
        let error = one.recv_until(Instant::now() + Duration::from_millis(10)).unwrap_err();
        assert!(error.is_timed_out());
    }

    #[test]
    fn a_frame_beyond_the_cap_is_refused_before_it_is_read() {
        let (one, other) = Channel::pair().unwrap();
        let mut other = UnixStream::from(other);
        std::io::Write::write_all(&mut other, &[0, 1, 0, 1, 3]).unwrap();
        let error = one.recv_until(Instant::now() + Duration::from_secs(5)).unwrap_err();
        assert!(error.is_protocol(), "{error}");
    }

    #[test]
    fn descriptors_arrive_close_on_exec_with_the_frame_that_names_them() {
        let (one, other) = ends();
        let conn = Frame::Conn { id: 1, listener: 0, requests: 0, peer: "".into(), unread: vec![] };
        let (fd, _keep) = UnixStream::pair().unwrap();
        one.post(&Frame::Trigger, vec![]).unwrap();
        one.post(&conn, vec![Arc::new(fd.into())]).unwrap();
        one.post(&Frame::Commit, vec![]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        assert!(other.recv_until(deadline).unwrap().unwrap().fds.is_empty());
        let message = other.recv_until(deadline).unwrap().unwrap();
        assert_eq!((&message.frame, message.fds.len()), (&conn, 1));
        let flags = rustix::io::fcntl_getfd(&message.fds[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        assert!(other.recv_until(deadline).unwrap().unwrap().fds.is_empty());
    }

    #[test]
    fn a_frame_without_its_descriptors_or_descriptors_without_a_frame_are_refused() {
        let deadline = Instant::now() + Duration::from_secs(5);
        let conn = Frame::Conn { id: 1, listener: 0, requests: 0, peer: "".into(), unread: vec![] };
        let (one, other) = ends();
        one.post(&conn, vec![]).unwrap();
        assert!(other.recv_until(deadline).unwrap_err().is_protocol());

        let (one, other) = ends();
        let (fd, _keep) = UnixStream::pair().unwrap();
        one.post(&Frame::Commit, vec![Arc::new(fd.into())]).unwrap();
        assert_eq!(other.recv_until(deadline).unwrap().unwrap().frame, Frame::Commit);
        assert!(other.recv_until(deadline).unwrap_err().is_protocol());
    }
}
