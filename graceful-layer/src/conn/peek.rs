//! Looks at a socket past the runtime, right before it is closed (law 6).

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

/// A stream that can be looked at before it is closed: every socket, and what you implement it for.
///
/// A runtime caches readiness: bytes may wait in the kernel while a poll still says "nothing". Closing then would
/// lose a request, so the last look goes to the kernel. On systems other than Unix nobody looks.
pub trait Peek: AsyncRead + AsyncWrite + Unpin {
    /// Whether the peer has sent something that was not read. Must not block and not consume.
    ///
    /// # Errors
    /// Whatever the socket says; the connection is then closed without further ado.
    fn has_bytes(&self) -> io::Result<bool>;

    /// Whether a part of a message is here that cannot be read before its rest is: half a TLS record, say. Counted as half a
    /// head: waited for, but not for ever. Never so for a stream of bytes.
    fn holds_part(&self) -> bool {
        false
    }

    /// Whether the peer's system is known to have all that was written. An idle connection is then closed without waiting
    /// for the peer, and its shutdown is left to the close that follows. `false` if not said otherwise, as for a bare
    /// socket, of which it cannot be asked without `unsafe`.
    fn is_delivered(&self) -> bool {
        false
    }

    /// How many bytes that were written to the socket the peer's system has not acknowledged. A number that changes shows
    /// that the peer still reads. `None`, the default, means that the number is not known.
    fn undelivered(&self) -> Option<usize> {
        None
    }

    /// Makes the coming close a reset, so that the peer sees that something is missing.
    fn reset_on_close(&self);
}

#[cfg(unix)]
impl<T: AsyncRead + AsyncWrite + Unpin + std::os::fd::AsFd> Peek for T {
    fn has_bytes(&self) -> io::Result<bool> {
        use rustix::{
            io::Errno,
            net::{RecvFlags, recv},
        };
        let mut byte = [0; 1];
        match recv(self, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, n)) => Ok(n > 0),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn reset_on_close(&self) {
        // A socket that cannot be set is one that is gone; a Unix socket knows no reset and ends in the middle.
        let _ = rustix::net::sockopt::set_socket_linger(self, Some(std::time::Duration::ZERO));
    }
}

#[cfg(not(unix))]
impl<T: AsyncRead + AsyncWrite + Unpin> Peek for T {
    fn has_bytes(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn reset_on_close(&self) {}
}
