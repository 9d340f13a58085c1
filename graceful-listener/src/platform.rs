//! Where Unixes differ: descriptors that are close-on-exec and non-blocking from their first
//! moment, abstract socket names, and what a socket says of itself.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr as UnixAddr;

use rustix::net::{RecvFlags, SendFlags, SocketAddrAny};

#[cfg(target_vendor = "apple")]
pub(crate) use self::apple::*;
#[cfg(not(target_vendor = "apple"))]
pub(crate) use self::others::*;

type Accepted = (OwnedFd, Option<SocketAddrAny>);

#[cfg(not(target_vendor = "apple"))]
mod others {
    use rustix::net::{SocketFlags, acceptfrom_with, sockopt};

    use super::*;

    pub(crate) const RECV: RecvFlags = RecvFlags::CMSG_CLOEXEC;
    pub(crate) const SEND: SendFlags = SendFlags::NOSIGNAL;

    /// accept4(2): the connection is close-on-exec and non-blocking.
    pub(crate) fn accept(socket: BorrowedFd<'_>) -> rustix::io::Result<Accepted> {
        acceptfrom_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
    }

    /// Nothing to do: RECV made it so.
    pub(crate) fn close_on_exec(_fd: BorrowedFd<'_>) {}

    /// SO_ACCEPTCONN, socket(7).
    pub(crate) fn is_listening(socket: BorrowedFd<'_>) -> rustix::io::Result<bool> {
        sockopt::socket_acceptconn(socket)
    }
}

/// These systems have no accept4 and no flags for the others. The standard library ignores
/// SIGPIPE, so a send to a peer that is gone is an error there, too. They declare SO_ACCEPTCONN
/// but do not answer it, so that every socket that is not connected counts as listening.
#[cfg(target_vendor = "apple")]
mod apple {
    use rustix::fs::{OFlags, fcntl_setfl};
    use rustix::io::{FdFlags, fcntl_setfd};

    use super::*;

    pub(crate) const RECV: RecvFlags = RecvFlags::empty();
    pub(crate) const SEND: SendFlags = SendFlags::empty();

    pub(crate) fn accept(socket: BorrowedFd<'_>) -> rustix::io::Result<Accepted> {
        let (fd, peer) = rustix::net::acceptfrom(socket)?;
        fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
        fcntl_setfl(&fd, OFlags::RDWR | OFlags::NONBLOCK)?;
        Ok((fd, peer))
    }

    pub(crate) fn close_on_exec(fd: BorrowedFd<'_>) {
        let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
    }

    pub(crate) fn is_listening(_socket: BorrowedFd<'_>) -> rustix::io::Result<bool> {
        Ok(true)
    }
}

/// The name of a socket in the abstract namespace; other systems than Linux have none.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) mod abstract_names {
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;

    use rustix::net::SocketAddrUnix;

    use super::UnixAddr;

    pub(crate) const SUPPORTED: bool = true;

    pub(crate) fn address(name: &[u8]) -> Option<UnixAddr> {
        UnixAddr::from_abstract_name(name).ok()
    }

    pub(crate) fn socket_address(name: &[u8]) -> Option<SocketAddrUnix> {
        SocketAddrUnix::new_abstract_name(name).ok()
    }

    pub(crate) fn name(addr: &UnixAddr) -> Option<&[u8]> {
        addr.as_abstract_name()
    }

    /// An unnamed socket has the empty name here.
    pub(crate) fn name_of_accepted(addr: &SocketAddrUnix) -> Option<&[u8]> {
        addr.abstract_name().filter(|name| !name.is_empty())
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) mod abstract_names {
    use rustix::net::SocketAddrUnix;

    use super::UnixAddr;

    pub(crate) const SUPPORTED: bool = false;

    pub(crate) fn address(_name: &[u8]) -> Option<UnixAddr> {
        None
    }

    pub(crate) fn socket_address(_name: &[u8]) -> Option<SocketAddrUnix> {
        None
    }

    pub(crate) fn name(_addr: &UnixAddr) -> Option<&[u8]> {
        None
    }

    pub(crate) fn name_of_accepted(_addr: &SocketAddrUnix) -> Option<&[u8]> {
        None
    }
}
