//! How many handshakes with a TCP listener are half done: the SYN was answered, and the packet that
//! would put the connection in the queue is not here yet.
//!
//! The kernel tells per address family, of all sockets with a port (sock_diag(7)). It keeps them for
//! a minute, and asks again after a second (tcp(7), `tcp_synack_retries`). Of those that it has
//! answered with SYN cookies it knows nothing.

use std::io;
use std::net::IpAddr;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink::SOCK_DIAG, recv, send,
    socket_with,
};

use crate::addr::ListenAddr;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// NLM_F_REQUEST and NLM_F_DUMP.
const DUMP: u16 = 0x301;
const IPPROTO_TCP: u8 = 6;
const SYN_RECV: u32 = 1 << 3;
const HEADER: usize = 16;
/// Where the local address is in an `inet_diag_msg`: behind four bytes and two ports.
const SOURCE: usize = HEADER + 8;

/// Also those of IPv4, where a socket of IPv6 takes both: the kernel has them as its family's.
pub(super) fn count(addr: &ListenAddr) -> io::Result<usize> {
    let ListenAddr::Tcp(addr) = addr else {
        return Ok(0);
    };
    let family = match addr.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let kernel = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        flags,
        Some(SOCK_DIAG),
    )?;
    send(&kernel, &request(family, addr.port()), SendFlags::empty())?;
    let mut count = 0;
    let mut bytes = vec![0; 32 * 1024];
    loop {
        let (read, _) = recv(&kernel, &mut bytes[..], RecvFlags::empty())?;
        let mut rest = &bytes[..read];
        while let Some((kind, length)) = header(rest) {
            match kind {
                SOCK_DIAG_BY_FAMILY if is_to(rest, addr.ip()) => count += 1,
                NLMSG_DONE => return Ok(count),
                NLMSG_ERROR => return Err(io::ErrorKind::Unsupported.into()),
                _ => {}
            }
            rest = &rest[length.min(rest.len())..];
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Whether the handshake of an `inet_diag_msg` is with this address, of which another listener may have the same port.
fn is_to(message: &[u8], addr: IpAddr) -> bool {
    let is = |octets: &[u8]| message.get(SOURCE..SOURCE + octets.len()) == Some(octets);
    addr.is_unspecified()
        || match addr {
            IpAddr::V4(addr) => is(&addr.octets()),
            IpAddr::V6(addr) => is(&addr.octets()),
        }
}

/// The kind of a message (netlink(7)), and where the next one begins.
fn header(bytes: &[u8]) -> Option<(u16, usize)> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    (length >= HEADER).then(|| (kind, length.next_multiple_of(4)))
}

/// A `nlmsghdr` and an `inet_diag_req_v2`: of this port, whatever the addresses are.
fn request(family: AddressFamily, port: u16) -> Vec<u8> {
    const LENGTH: u32 = HEADER as u32 + 56;
    let mut bytes = Vec::with_capacity(LENGTH as usize);
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family.as_raw() as u8, IPPROTO_TCP, 0, 0]);
    bytes.extend(SYN_RECV.to_ne_bytes());
    bytes.extend(port.to_be_bytes());
    bytes.extend([0; 2 + 32 + 4]);
    // No cookie.
    bytes.extend([0xff; 8]);
    bytes
}
