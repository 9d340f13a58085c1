//! Binding a UDP socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::bound::failed;
use super::options::SocketOptions;
use crate::error::ListenError;
use crate::udp::UdpAddr;

/// Returns the socket, and where it really is.
pub(crate) fn bind(
    wanted: UdpAddr,
    options: &SocketOptions,
) -> Result<(OwnedFd, SocketAddr), ListenError> {
    let addr = wanted.socket_addr();
    let fd = open(addr, options).map_err(failed("open a socket for", &wanted))?;
    let socket = SockRef::from(&fd);
    socket.bind(&addr.into()).map_err(failed("bind", &wanted))?;
    let real = socket.local_addr().map_err(failed("name", &wanted))?;
    let real = real.as_socket().unwrap_or(addr);
    Ok((fd, real))
}

/// Without SO_REUSEADDR, which lets any other process take the datagrams of a UDP port.
fn open(addr: SocketAddr, options: &SocketOptions) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    options.set_on(&socket, addr)?;
    Ok(socket.into())
}
