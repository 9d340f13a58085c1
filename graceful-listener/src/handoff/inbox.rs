//! Bytes and descriptors as they come in, until they make a frame.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, ReturnFlags, recvmsg};

use super::FDS_A_MESSAGE;
use super::error::HandoffError;
use super::frame::{CAP, Frame, HEADER};
use crate::platform::{RECV, close_on_exec};

/// A frame with the descriptors it names.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) frame: Frame,
    pub(super) fds: Vec<OwnedFd>,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

/// What one look at the socket brought.
pub(super) enum Filled {
    Some,
    /// The other side is gone, and all it sent has been read.
    End,
    NothingYet,
}

impl Inbox {
    /// Takes the next frame, if it is complete.
    pub(super) fn pop(&mut self) -> Result<Option<Message>, HandoffError> {
        let Some((header, rest)) = self.bytes.split_first_chunk::<HEADER>() else {
            return self.nothing_left();
        };
        let [a, b, c, d, kind] = *header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > CAP {
            return Err(HandoffError::protocol(format!("a frame of {length} bytes")));
        }
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        let frame = Frame::decode(kind, payload)
            .map_err(|why| HandoffError::protocol(format!("frame type {kind}: {why}")))?;
        self.bytes.drain(..HEADER + length);
        if self.fds.len() < frame.fds() {
            return Err(HandoffError::protocol(
                "descriptors are missing from a frame",
            ));
        }
        let fds = self.fds.drain(..frame.fds()).collect();
        Ok(Some(Message { frame, fds }))
    }

    /// Reads once. The descriptors are close-on-exec before anybody can fork.
    ///
    /// MSG_CTRUNC says that the kernel closed some of them because the process may have no more
    /// open: it is an error here, for the sender would not learn that they are lost.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>) -> Result<Filled, HandoffError> {
        let mut bytes = [0; 8192];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_A_MESSAGE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let iov = &mut [IoSliceMut::new(&mut bytes)];
        let got = match recvmsg(socket, iov, &mut control, RECV) {
            Ok(got) => got,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Filled::NothingYet),
            Err(Errno::CONNRESET) => return Ok(Filled::End),
            Err(error) => return Err(HandoffError::io("read from the channel", error.into())),
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds.inspect(|fd| close_on_exec(fd.as_fd())));
            }
        }
        if got.flags.contains(ReturnFlags::CTRUNC) {
            let why = "descriptors were lost on the way: is the limit of open files too low?";
            return Err(HandoffError::protocol(why));
        }
        self.bytes.extend_from_slice(&bytes[..got.bytes]);
        Ok(if got.bytes == 0 {
            Filled::End
        } else {
            Filled::Some
        })
    }

    /// Descriptors that no frame claimed would stay open unseen.
    fn nothing_left(&self) -> Result<Option<Message>, HandoffError> {
        match self.bytes.is_empty() && !self.fds.is_empty() {
            true => Err(HandoffError::protocol(
                "descriptors came without a frame for them",
            )),
            false => Ok(None),
        }
    }
}
