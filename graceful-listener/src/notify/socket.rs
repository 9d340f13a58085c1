//! The manager's socket: where it is, and one datagram to it, with descriptors or without.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SocketAddrUnix, sendmsg_addr};

use crate::platform::{SEND, abstract_names};

/// How long a manager with a full queue is waited for. It holds hundreds of messages, so one that
/// is full belongs to a manager that hangs.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub(super) enum Address {
    Nobody,
    Socket(SocketAddrUnix),
    Malformed(OsString),
}

impl Address {
    pub(super) fn parse(value: Option<OsString>) -> Self {
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return Self::Nobody;
        };
        let address = match value.as_bytes() {
            [b'@', name @ ..] if !name.is_empty() => abstract_names::socket_address(name),
            path @ [b'/', ..] => SocketAddrUnix::new(path).ok(),
            _ => None,
        };
        address.map_or(Self::Malformed(value), Self::Socket)
    }

    pub(super) fn is_nobody(&self) -> bool {
        matches!(self, Self::Nobody)
    }

    /// A socket of its own for each message: they are rare.
    pub(super) fn send(&self, message: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let address = match self {
            Self::Nobody => return Ok(()),
            Self::Socket(address) => address,
            Self::Malformed(value) => return Err(malformed(value)),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let message = [IoSlice::new(message.as_bytes())];
        sendmsg_addr(&socket, address, &message, &mut control, SEND)?;
        Ok(())
    }
}

fn malformed(value: &OsString) -> io::Error {
    let why = format!("NOTIFY_SOCKET={value:?} is neither an absolute path nor an @name");
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
