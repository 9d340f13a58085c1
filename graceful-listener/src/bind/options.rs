//! Options of a socket that this process binds.

use std::io;
use std::net::SocketAddr;

use socket2::Socket;

#[derive(Clone, Debug)]
pub(crate) struct SocketOptions {
    pub(crate) backlog: u32,
    pub(crate) reuse_port: bool,
    pub(crate) only_v6: Option<bool>,
    /// The permission bits of a Unix path.
    pub(crate) mode: Option<u32>,
}

impl SocketOptions {
    /// Sets what a socket has to know before it is bound.
    pub(super) fn set_on(&self, socket: &Socket, addr: SocketAddr) -> io::Result<()> {
        #[cfg(not(any(target_os = "solaris", target_os = "illumos")))]
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        match self.only_v6 {
            Some(only_v6) if addr.is_ipv6() => socket.set_only_v6(only_v6),
            _ => Ok(()),
        }
    }
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            backlog: 4096,
            reuse_port: false,
            only_v6: None,
            mode: None,
        }
    }
}
