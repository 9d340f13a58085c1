//! Frames that wait for room in the socket, each with the descriptors it names.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, sendmsg};

use crate::link::FDS_A_MESSAGE;
use crate::platform::SEND;
use crate::protocol::frame::Frame;

#[derive(Debug, Default)]
pub(crate) struct Outbox(VecDeque<Outgoing>);

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// Held open until the kernel has its own reference.
    fds: Vec<Arc<OwnedFd>>,
}

impl Outbox {
    pub(crate) fn push(&mut self, frame: &Frame, fds: Vec<Arc<OwnedFd>>) {
        self.0.push_back(Outgoing {
            bytes: frame.encode(),
            sent: 0,
            fds,
        });
    }

    /// Sends what there is room for; returns whether nothing is left to send.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        while let Some(next) = self.0.front_mut() {
            match next.send(socket) {
                Ok(()) if next.sent == next.bytes.len() => _ = self.0.pop_front(),
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

impl Outgoing {
    /// One sendmsg(2). The descriptors go with the first byte and never again.
    fn send(&mut self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        let fds: Vec<_> = self.fds.iter().map(|fd| fd.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_A_MESSAGE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(Errno::TOOMANYREFS);
        }
        let bytes = &[IoSlice::new(&self.bytes[self.sent..])];
        self.sent += sendmsg(socket, bytes, &mut control, SEND)?;
        drop(fds);
        self.fds.clear();
        Ok(())
    }
}
