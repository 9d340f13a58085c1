//! Who is at the other end of a connection.

use std::{
    fmt,
    net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
};

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// A TCP peer.
    Tcp(SocketAddr),
    /// A peer on a Unix socket; most have no name.
    Unix,
    /// Nobody said.
    #[default]
    Unknown,
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix => f.write_str("unix"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// A peer in 24 bytes, as a cell keeps it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Packed {
    ip: [u8; 16],
    scope: u32,
    port: u16,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Default)]
enum Kind {
    V4,
    V6,
    Unix,
    #[default]
    Unknown,
}

impl From<Peer> for Packed {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::Tcp(SocketAddr::V4(addr)) => Self {
                ip: addr.ip().to_ipv6_mapped().octets(),
                port: addr.port(),
                kind: Kind::V4,
                ..Self::default()
            },
            Peer::Tcp(SocketAddr::V6(addr)) => Self {
                ip: addr.ip().octets(),
                scope: addr.scope_id(),
                port: addr.port(),
                kind: Kind::V6,
            },
            Peer::Unix => Self {
                kind: Kind::Unix,
                ..Self::default()
            },
            Peer::Unknown => Self::default(),
        }
    }
}

impl From<Packed> for Peer {
    fn from(
        Packed {
            ip,
            scope,
            port,
            kind,
        }: Packed,
    ) -> Self {
        let v6 = Ipv6Addr::from(ip);
        match (kind, v6.to_ipv4_mapped()) {
            (Kind::V4, Some(v4)) => Self::Tcp(SocketAddrV4::new(v4, port).into()),
            (Kind::V4 | Kind::V6, _) => Self::Tcp(SocketAddrV6::new(v6, port, 0, scope).into()),
            (Kind::Unix, _) => Self::Unix,
            (Kind::Unknown, _) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_loses_nothing_but_the_flow() {
        let addrs = [
            "127.0.0.1:80",
            "[::1]:65535",
            "[::ffff:10.0.0.1]:1",
            "[fe80::1%7]:443",
        ];
        let tcp = addrs.map(|addr| Peer::Tcp(addr.parse().unwrap()));
        for peer in tcp.into_iter().chain([Peer::Unix, Peer::Unknown]) {
            assert_eq!(Peer::from(Packed::from(peer)), peer);
        }
    }
}
