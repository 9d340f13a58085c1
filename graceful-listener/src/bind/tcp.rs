//! Binding a TCP listener.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

use super::bound::{Bound, bind_and_listen, failed};
use super::options::SocketOptions;
use crate::addr::ListenAddr;
use crate::error::ListenError;

pub(super) fn bind(wanted: SocketAddr, options: &SocketOptions) -> Result<Bound, ListenError> {
    let addr = ListenAddr::Tcp(wanted);
    let socket = open(wanted, options).map_err(failed("open a socket for", &addr))?;
    let fd = socket.into();
    bind_and_listen(&fd, &wanted.into(), &addr, options.backlog)?;
    let real = socket2::SockRef::from(&fd)
        .local_addr()
        .map_err(failed("name", &addr))?;
    let addr = real.as_socket().map_or(addr, ListenAddr::Tcp);
    Ok(Bound {
        fd,
        addr,
        path: None,
    })
}

/// SO_REUSEADDR is set as every server does: without it a restart after a crash is refused for
/// as long as old connections are in TIME_WAIT. It does not let two listeners share a port.
fn open(addr: SocketAddr, options: &SocketOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    options.set_on(&socket, addr)?;
    Ok(socket)
}
