//! Who is at the other end of an accepted connection.

use std::ffi::OsStr;
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr as UnixAddr;

use rustix::net::{SocketAddrAny, SocketAddrUnix};

use crate::addr::ListenAddr;
use crate::platform::abstract_names;

/// The address of the peer of an accepted connection.
///
/// Clients of a Unix listener are almost always unnamed: the address then says only that, and
/// the process behind it is asked for with [`UnixStream::peer_cred`].
///
/// [`UnixStream::peer_cred`]: tokio::net::UnixStream::peer_cred
#[derive(Clone, Debug)]
pub enum PeerAddr {
    /// A TCP client.
    Tcp(SocketAddr),
    /// A client of a Unix socket.
    Unix(UnixAddr),
}

impl PeerAddr {
    /// Returns the socket address of a TCP client.
    pub fn as_tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) => Some(*addr),
            Self::Unix(_) => None,
        }
    }

    /// Reads what accept(2) reported. Whatever is not an IP address came over a Unix socket.
    pub(crate) fn from_accept(addr: Option<SocketAddrAny>) -> Self {
        let Some(addr) = addr else {
            return Self::Unix(unnamed());
        };
        if let Ok(addr) = SocketAddr::try_from(addr.clone()) {
            return Self::Tcp(addr);
        }
        let named = SocketAddrUnix::try_from(addr)
            .ok()
            .and_then(|addr| unix_addr(&addr));
        Self::Unix(named.unwrap_or_else(unnamed))
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(addr) => match addr.as_pathname() {
                Some(path) => write!(f, "unix:{}", path.display()),
                None => match abstract_names::name(addr) {
                    Some(name) => write!(f, "unix:@{}", String::from_utf8_lossy(name)),
                    None => f.write_str("unix:"),
                },
            },
        }
    }
}

impl From<SocketAddr> for PeerAddr {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

impl From<UnixAddr> for PeerAddr {
    fn from(addr: UnixAddr) -> Self {
        Self::Unix(addr)
    }
}

/// The same address in the type that accepted connections use, for servers that have one type
/// for both ends.
impl From<&ListenAddr> for PeerAddr {
    fn from(addr: &ListenAddr) -> Self {
        match addr {
            ListenAddr::Tcp(addr) => Self::Tcp(*addr),
            ListenAddr::Unix(path) => {
                let named = match crate::addr::abstract_name(path) {
                    Some(name) => abstract_names::address(name),
                    None => UnixAddr::from_pathname(path).ok(),
                };
                Self::Unix(named.unwrap_or_else(unnamed))
            }
        }
    }
}

fn unix_addr(addr: &SocketAddrUnix) -> Option<UnixAddr> {
    match abstract_names::name_of_accepted(addr) {
        Some(name) => abstract_names::address(name),
        None => UnixAddr::from_pathname(OsStr::from_bytes(addr.path()?.to_bytes())).ok(),
    }
}

#[allow(
    clippy::expect_used,
    reason = "an empty path fits into every sockaddr_un"
)]
fn unnamed() -> UnixAddr {
    UnixAddr::from_pathname("").expect("the empty path is the unnamed address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_printed_as_the_address_it_would_listen_on() {
        for text in ["127.0.0.1:80", "[::1]:80", "unix:/run/a", "unix:@name"] {
            let peer = PeerAddr::from(&text.parse::<ListenAddr>().unwrap());
            assert_eq!(peer.to_string(), text);
        }
        assert_eq!(PeerAddr::from_accept(None).to_string(), "unix:");
    }
}
