//! Bytes and descriptors as they come in, until they make a frame.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, ReturnFlags, recvmsg};

use crate::error::HandoffError;
use crate::link::FDS_A_MESSAGE;
use crate::platform::{RECV, close_on_exec};
use crate::protocol::frame::{CAP, Frame, HEADER};

/// A frame with the descriptors it names.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) frame: Frame,
    pub(crate) fds: Vec<OwnedFd>,
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    /// In the order of their frames. Nothing stands for those of one message that the kernel closed.
    fds: VecDeque<Option<OwnedFd>>,
}

/// What one look at the socket brought.
pub(crate) enum Filled {
    Some,
    /// The other side is gone, and all it sent has been read.
    End,
    NothingYet,
}

impl Inbox {
    /// The frames that are complete, left where they are.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Frame> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (header, after) = rest.split_first_chunk::<HEADER>()?;
            let [a, b, c, d, kind] = *header;
            let payload = after.get(..u32::from_be_bytes([a, b, c, d]) as usize)?;
            rest = &after[payload.len()..];
            Frame::decode(kind, payload).ok()
        })
    }

    /// Takes the next frame, if it is complete.
    pub(crate) fn pop(&mut self) -> Result<Option<Message>, HandoffError> {
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
        let fds = self.take(frame.fds())?;
        match (fds, &frame) {
            (Some(fds), _) => Ok(Some(Message { frame, fds })),
            // Its sender has it still, and can be told.
            (None, Frame::Conn { .. }) => Ok(Some(Message { frame, fds: vec![] })),
            (None, _) => Err(HandoffError::protocol(
                "descriptors were lost on the way: is the limit of open files too low?",
            )),
        }
    }

    /// The next `count` descriptors; nothing if some of them were lost.
    fn take(&mut self, count: usize) -> Result<Option<Vec<OwnedFd>>, HandoffError> {
        let there = count.min(self.fds.len());
        let taken: Option<Vec<_>> = self.fds.drain(..there).collect();
        match taken {
            Some(fds) if fds.len() < count => Err(HandoffError::protocol(
                "descriptors are missing from a frame",
            )),
            taken => Ok(taken),
        }
    }

    /// Reads once. The descriptors are close-on-exec before anybody can fork.
    ///
    /// MSG_CTRUNC says that the kernel closed some of them because the process may have no more
    /// open. Of the messages that carry descriptors one comes at a time.
    pub(crate) fn fill(&mut self, socket: BorrowedFd<'_>) -> Result<Filled, HandoffError> {
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
                let fds = fds.inspect(|fd| close_on_exec(fd.as_fd()));
                self.fds.extend(fds.map(Some));
            }
        }
        if got.flags.contains(ReturnFlags::CTRUNC) {
            self.fds.push_back(None);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::record::{Record, Socket};

    fn inbox(frame: &Frame, fds: impl IntoIterator<Item = Option<OwnedFd>>) -> Inbox {
        Inbox {
            bytes: frame.encode(),
            fds: fds.into_iter().collect(),
        }
    }

    #[test]
    fn a_lost_descriptor_is_missed_by_its_own_frame_and_not_taken_from_the_next() {
        let conn = Frame::Conn {
            name: String::new(),
            id: 1,
            listener: 0,
            requests: 0,
            peer: String::new(),
            unread: Vec::new(),
        };
        let other = || Some(std::fs::File::open("/dev/null").unwrap().into());
        let mut inbox = inbox(&conn, [None, other()]);
        inbox.bytes.extend(conn.encode());
        assert_eq!(inbox.pop().unwrap().unwrap().fds.len(), 0);
        assert_eq!(inbox.pop().unwrap().unwrap().fds.len(), 1);
    }

    #[test]
    fn what_waits_can_be_looked_at_and_is_still_taken() {
        let names = vec!["http".to_owned()];
        let (sole, leave) = (Frame::Sole { names }, Frame::Leave);
        let mut inbox = inbox(&leave, []);
        inbox.bytes.extend(sole.encode());
        let whole = inbox.bytes.len();
        inbox.bytes.extend(sole.encode());
        inbox.bytes.truncate(whole + 3);
        assert!(inbox.waiting().eq([leave.clone(), sole.clone()]));
        assert_eq!(inbox.pop().unwrap().unwrap().frame, leave);
        assert_eq!(inbox.pop().unwrap().unwrap().frame, sole);
        assert!(inbox.pop().unwrap().is_none());
    }

    #[test]
    fn listeners_that_are_lost_end_the_hand_over() {
        let record = Record {
            name: "h".to_owned(),
            index: 0,
            socket: Socket::Tcp(([127, 0, 0, 1], 80).into()),
        };
        let listeners = Frame::Listeners {
            total: 1,
            records: vec![record],
        };
        assert!(inbox(&listeners, [None]).pop().unwrap_err().is_protocol());
        assert!(inbox(&listeners, []).pop().unwrap_err().is_protocol());
    }
}
