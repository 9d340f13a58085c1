//! Where a listener listens: the address as people write it, and back.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Kind, ListenError};
use crate::platform::abstract_names::SUPPORTED;

/// The address a listener is bound to.
///
/// Its text is `IP:PORT` (`127.0.0.1:8080`, `[::1]:80`, port 0 for any free one) or `unix:PATH`.
/// On Linux and Android a path that begins with `@` is a name in the abstract namespace, which
/// no file stands for; write `unix:./@name` for a file of such a name.
///
/// Host names are not resolved: which of its addresses to bind, and what to do when they change,
/// is the caller's policy. Use [`std::net::ToSocketAddrs`] and pass the [`SocketAddr`].
///
/// # Examples
///
/// ```
/// use graceful_listener::ListenAddr;
///
/// let addr: ListenAddr = "unix:/run/app.sock".parse()?;
/// assert_eq!(addr.to_string(), "unix:/run/app.sock");
/// assert!("localhost".parse::<ListenAddr>().unwrap_err().is_malformed_addr());
/// # Ok::<_, graceful_listener::ListenError>(())
/// ```
///
/// # References
///
/// [`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html), abstract names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddr {
    /// A TCP address, version 4 or 6.
    Tcp(SocketAddr),
    /// The path of a Unix socket, or `@name`.
    Unix(PathBuf),
}

impl ListenAddr {
    /// Returns the socket address of a TCP listener.
    pub fn as_tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) => Some(*addr),
            Self::Unix(_) => None,
        }
    }

    /// Returns the path of a Unix listener, or its `@name`.
    pub fn as_unix(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }

    /// Whether a socket at `actual` serves everybody who was told this address.
    ///
    /// Port 0 asks for any port. A socket on `[::]` that also takes version 4 serves `0.0.0.0`,
    /// and a mapped address is the address it maps.
    pub(crate) fn is_served_by(&self, actual: &Self, only_v6: bool) -> bool {
        match (self, actual) {
            (Self::Tcp(wanted), Self::Tcp(actual)) => {
                let same_port = wanted.port() == 0 || wanted.port() == actual.port();
                let both = |ip: SocketAddr| ip.ip().is_unspecified() && ip.is_ipv6() && !only_v6;
                let same_ip = wanted.ip().to_canonical() == actual.ip().to_canonical()
                    || (wanted.ip().is_unspecified() && both(*actual));
                same_port && same_ip
            }
            (Self::Unix(wanted), Self::Unix(actual)) => absolute(wanted) == absolute(actual),
            _ => false,
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for ListenAddr {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let malformed = |why| {
            ListenError::new(Kind::MalformedAddr {
                text: text.to_owned(),
                why,
            })
        };
        match text.strip_prefix("unix:") {
            Some("" | "@") => Err(malformed("the path is empty")),
            Some(path) if path.contains('\0') => Err(malformed("the path contains a NUL byte")),
            Some(path) => Ok(Self::Unix(path.into())),
            None => match text.parse() {
                Ok(addr) => Ok(Self::Tcp(addr)),
                Err(_) => Err(malformed(
                    "it is neither IP:PORT nor unix:PATH; write 127.0.0.1:80 or unix:/path",
                )),
            },
        }
    }
}

impl TryFrom<&str> for ListenAddr {
    type Error = ListenError;

    fn try_from(text: &str) -> Result<Self, ListenError> {
        text.parse()
    }
}

impl TryFrom<String> for ListenAddr {
    type Error = ListenError;

    fn try_from(text: String) -> Result<Self, ListenError> {
        text.parse()
    }
}

impl TryFrom<&String> for ListenAddr {
    type Error = ListenError;

    fn try_from(text: &String) -> Result<Self, ListenError> {
        text.parse()
    }
}

impl From<SocketAddr> for ListenAddr {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

impl From<&Self> for ListenAddr {
    fn from(addr: &Self) -> Self {
        addr.clone()
    }
}

impl From<Infallible> for ListenError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The name in the abstract namespace that a path of the form `@name` stands for.
pub(crate) fn abstract_name(path: &Path) -> Option<&[u8]> {
    path.as_os_str()
        .as_bytes()
        .strip_prefix(b"@")
        .filter(|_| SUPPORTED)
}

/// The path independent of later changes of the working directory; `@name` stays as it is.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    match abstract_name(path) {
        Some(_) => path.to_owned(),
        None => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> ListenAddr {
        text.parse().unwrap()
    }

    #[test]
    fn every_form_reads_back_as_it_was_written() {
        for text in [
            "127.0.0.1:8080",
            "[::1]:80",
            "0.0.0.0:0",
            "unix:/run/a.sock",
            "unix:rel",
        ] {
            assert_eq!(addr(text).to_string(), text);
        }
        assert_eq!(addr("unix:@app").as_unix(), Some(Path::new("@app")));
        assert_eq!(addr("[::1]:80").as_tcp(), Some("[::1]:80".parse().unwrap()));
    }

    #[test]
    fn anything_else_is_a_malformed_address_that_is_quoted() {
        let bad = [
            "",
            "localhost:80",
            ":80",
            "1.2.3.4",
            "::1:80:",
            "unix:",
            "unix:@",
            "/a",
            "a\0",
        ];
        for text in bad
            .iter()
            .chain(&["unix:/a\0b", "127.0.0.1:65536", "http://127.0.0.1:80"])
        {
            let error = text.parse::<ListenAddr>().unwrap_err();
            assert!(error.is_malformed_addr(), "{text:?}");
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn an_address_is_served_by_itself_by_any_port_for_zero_and_by_a_dual_stack_wildcard() {
        let served = |wanted, actual, only_v6| addr(wanted).is_served_by(&addr(actual), only_v6);
        assert!(served("127.0.0.1:80", "127.0.0.1:80", false));
        assert!(served("127.0.0.1:0", "127.0.0.1:4711", false));
        assert!(served("0.0.0.0:80", "[::]:80", false));
        assert!(served("127.0.0.1:80", "[::ffff:127.0.0.1]:80", false));
        assert!(served("unix:/a", "unix:/a", false));

        assert!(!served("0.0.0.0:80", "[::]:80", true));
        assert!(!served("[::]:80", "0.0.0.0:80", false));
        assert!(!served("127.0.0.1:80", "127.0.0.1:81", false));
        assert!(!served("127.0.0.1:80", "[::1]:80", false));
        assert!(!served("127.0.0.1:80", "[::]:80", false));
        assert!(!served("unix:/a", "unix:/b", false));
        assert!(!served("unix:/a", "127.0.0.1:80", false));
    }
}
