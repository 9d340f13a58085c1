//! The address of a UDP socket, as people write it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::error::{Kind, ListenError};

/// The address a UDP socket is bound to.
///
/// Its text is `udp:IP:PORT`; `IP:PORT` is read as well. Port 0 asks for any free one.
///
/// # Examples
///
/// ```
/// use graceful_listener::UdpAddr;
///
/// let addr: UdpAddr = "127.0.0.1:53".parse()?;
/// assert_eq!(addr.to_string(), "udp:127.0.0.1:53");
/// # Ok::<_, graceful_listener::ListenError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpAddr(SocketAddr);

impl UdpAddr {
    /// Returns the address alone.
    pub fn socket_addr(self) -> SocketAddr {
        self.0
    }
}

impl fmt::Display for UdpAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "udp:{}", self.0)
    }
}

impl FromStr for UdpAddr {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let addr = text.strip_prefix("udp:").unwrap_or(text).parse();
        addr.map(Self).map_err(|_| {
            ListenError::new(Kind::MalformedAddr {
                text: text.to_owned(),
                why: "it is not udp:IP:PORT; write udp:127.0.0.1:53",
            })
        })
    }
}

impl TryFrom<&str> for UdpAddr {
    type Error = ListenError;

    fn try_from(text: &str) -> Result<Self, ListenError> {
        text.parse()
    }
}

impl TryFrom<String> for UdpAddr {
    type Error = ListenError;

    fn try_from(text: String) -> Result<Self, ListenError> {
        text.parse()
    }
}

impl From<SocketAddr> for UdpAddr {
    fn from(addr: SocketAddr) -> Self {
        Self(addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_with_and_without_its_prefix() {
        for text in ["udp:127.0.0.1:53", "udp:[::1]:0"] {
            let addr: UdpAddr = text.parse().unwrap();
            assert_eq!(addr.to_string(), text);
            assert_eq!(text[4..].parse::<UdpAddr>().unwrap(), addr);
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        for text in [
            "",
            "udp:",
            "localhost:53",
            "unix:/a",
            "udp:udp:127.0.0.1:53",
            "127.0.0.1",
        ] {
            let error = text.parse::<UdpAddr>().unwrap_err();
            assert!(error.is_malformed_addr(), "{text:?}");
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }
}
