//! An accepted connection, TCP or Unix, as one type.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::peer::PeerAddr;

/// A connection that a [`HandoffListener`](crate::HandoffListener) accepted.
///
/// Reads and writes go to the stream inside, vectored writes included, so nothing is lost
/// against using the two types by themselves. Match on it to get at the stream.
#[derive(Debug)]
pub enum Stream {
    /// From a TCP listener.
    Tcp(TcpStream),
    /// From a Unix listener.
    Unix(UnixStream),
}

impl Stream {
    /// Returns the address of the other end.
    ///
    /// # Errors
    ///
    /// Those of getpeername(2): `ENOTCONN` once the peer has reset the connection.
    pub fn peer_addr(&self) -> io::Result<PeerAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().map(PeerAddr::Tcp),
            Self::Unix(stream) => stream.peer_addr().map(|addr| PeerAddr::Unix(addr.into())),
        }
    }

    /// Returns the TCP stream inside, to set its options.
    pub fn as_tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Unix(_) => None,
        }
    }

    /// Returns the Unix stream inside, to ask for the credentials of its peer.
    pub fn as_unix(&self) -> Option<&UnixStream> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(stream) => Some(stream),
        }
    }

    /// Whether the peer's system has acknowledged all that was written; on a Unix socket, whether the
    /// peer has read it. Always `false` where the system does not tell, which is everywhere but on Linux.
    ///
    /// Once it has, a reset can no longer keep the bytes from it, and the stream can be closed
    /// without waiting for the peer to close (RFC 9112 §9.6).
    ///
    /// # References
    ///
    /// SIOCOUTQ in [tcp(7)](https://man7.org/linux/man-pages/man7/tcp.7.html)
    pub fn is_delivered(&self) -> bool {
        self.undelivered() == Some(0)
    }

    /// How many of the written bytes the peer's system has not acknowledged; on a Unix socket, how many bytes of the
    /// kernel's memory they take until the peer reads them. `None` on systems other than Linux.
    ///
    /// # References
    ///
    /// SIOCOUTQ in [tcp(7)](https://man7.org/linux/man-pages/man7/tcp.7.html)
    pub fn undelivered(&self) -> Option<usize> {
        crate::sys::unacknowledged(self.as_fd()).ok()
    }
}

/// Forwards a poll method to whichever stream is inside.
macro_rules! forward {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match $stream.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Self::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self, poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_shutdown(cx))
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}
