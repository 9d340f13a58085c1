//! Is this descriptor a listener we can serve from, or a UDP socket? Guards law 8: what is not listening is
//! refused, never made to listen, and O_NONBLOCK is set, never cleared.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::net::{SocketType, sockopt};
use socket2::{SockAddr, SockRef};

use crate::addr::ListenAddr;
use crate::fault::Fault;
use crate::platform;

/// Checks that `fd` is a listening TCP or Unix stream socket and makes it close-on-exec and
/// non-blocking. Returns where it listens.
///
/// O_NONBLOCK belongs to the open socket and not to the descriptor, so whoever else holds it
/// sees it set as well. It has to be: an accept that loses the race against the other holder
/// would block a worker thread of the runtime.
pub(crate) fn check(fd: BorrowedFd<'_>) -> Result<ListenAddr, Fault> {
    let kind = socket_type(fd)?;
    if kind != SocketType::STREAM {
        return Err(no_listener(format!("its type is {}", type_name(kind))));
    }
    let addr = SockRef::from(&fd).local_addr()?;
    let addr = listen_addr(&addr)
        .ok_or_else(|| no_listener(format!("its address family is number {}", addr.family())))?;
    check_protocol(fd, &addr)?;
    check_listening(fd)?;
    close_on_exec(fd)?;
    fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
    Ok(addr)
}

/// Checks that `fd` is a UDP socket that is bound and takes datagrams from everybody, and makes
/// it close-on-exec and non-blocking. Returns its address.
pub(crate) fn check_udp(fd: BorrowedFd<'_>) -> Result<SocketAddr, Fault> {
    let no_udp = |why: String| Fault::WrongType(format!("it is no UDP socket: {why}"));
    let kind = socket_type(fd)?;
    if kind != SocketType::DGRAM {
        return Err(no_udp(format!("its type is {}", type_name(kind))));
    }
    let addr = SockRef::from(&fd).local_addr()?;
    let addr = addr
        .as_socket()
        .ok_or_else(|| no_udp(format!("its address family is number {}", addr.family())))?;
    if addr.port() == 0 || SockRef::from(&fd).peer_addr().is_ok() {
        return Err(no_udp(
            "it is not bound, or connected to one peer".to_owned(),
        ));
    }
    close_on_exec(fd)?;
    fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
    Ok(addr)
}

/// All there is to say of any descriptor: it is open, and will not come through exec again.
pub(crate) fn close_on_exec(fd: BorrowedFd<'_>) -> Result<(), Fault> {
    Ok(fcntl_setfd(fd, fcntl_getfd(fd)? | FdFlags::CLOEXEC)?)
}

fn socket_type(fd: BorrowedFd<'_>) -> Result<SocketType, Fault> {
    match FileType::from_raw_mode(fstat(fd)?.st_mode) {
        FileType::Socket => Ok(sockopt::socket_type(fd)?),
        file => Err(Fault::NotASocket(file)),
    }
}

fn no_listener(why: String) -> Fault {
    Fault::WrongType(format!("it is no TCP or Unix stream socket: {why}"))
}

/// Whether a socket on `[::]` leaves version 4 to others.
pub(crate) fn is_only_v6(fd: impl AsFd) -> bool {
    sockopt::ipv6_v6only(fd).unwrap_or(false)
}

/// The address of a TCP or Unix socket; nothing for other families.
pub(crate) fn listen_addr(addr: &SockAddr) -> Option<ListenAddr> {
    if let Some(addr) = addr.as_socket() {
        return Some(ListenAddr::Tcp(addr));
    }
    if !addr.is_unix() {
        return None;
    }
    let mut path = Vec::new();
    if let Some(name) = addr.as_abstract_namespace() {
        path.push(b'@');
        path.extend_from_slice(name);
    } else if let Some(named) = addr.as_pathname() {
        path.extend_from_slice(named.as_os_str().as_bytes());
    }
    Some(ListenAddr::Unix(std::ffi::OsStr::from_bytes(&path).into()))
}

/// Streams over IP are TCP, or multipath TCP, which serves the same clients.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn check_protocol(fd: BorrowedFd<'_>, addr: &ListenAddr) -> Result<(), Fault> {
    const MPTCP: u32 = 262;
    match sockopt::socket_protocol(fd)? {
        Some(protocol) if addr.as_tcp().is_some() => match protocol.as_raw().get() {
            6 | MPTCP => Ok(()),
            other => Err(no_listener(format!(
                "its protocol is number {other}, not TCP"
            ))),
        },
        _ => Ok(()),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn check_protocol(_fd: BorrowedFd<'_>, _addr: &ListenAddr) -> Result<(), Fault> {
    Ok(())
}

fn check_listening(fd: BorrowedFd<'_>) -> Result<(), Fault> {
    if SockRef::from(&fd).peer_addr().is_ok() {
        return Err(Fault::NotListening("it is a connection"));
    }
    match platform::is_listening(fd)? {
        true => Ok(()),
        false => Err(Fault::NotListening("nobody called listen(2) on it")),
    }
}

fn type_name(kind: SocketType) -> String {
    match kind {
        SocketType::DGRAM => "datagram, as of UDP".to_owned(),
        SocketType::SEQPACKET => "sequential packets".to_owned(),
        other => format!("number {}", other.as_raw()),
    }
}
