//! Looks at a socket past the runtime, right before it is closed (law 6).

use std::{io, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};

/// A stream that can be looked at before it is closed.
///
/// A runtime caches readiness: bytes may wait in the kernel while a poll still says "nothing". Closing then would
/// lose a request, so the last look goes to the kernel.
pub trait Peek: AsyncRead + AsyncWrite + Unpin {
    /// Whether the peer has sent something that was not read. Must not block and not consume.
    ///
    /// # Errors
    /// Whatever the socket says; the connection is then closed without further ado.
    fn has_bytes(&self) -> io::Result<bool>;

    /// Makes the coming close a reset, so that the peer sees that something is missing.
    fn reset_on_close(&self);
}

#[cfg(unix)]
fn peek(socket: impl std::os::fd::AsFd) -> io::Result<bool> {
    use rustix::{io::Errno, net::RecvFlags};
    let mut byte = [0; 1];
    match rustix::net::recv(socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, n)) => Ok(n > 0),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(unix)]
impl Peek for tokio::net::TcpStream {
    fn has_bytes(&self) -> io::Result<bool> {
        peek(self)
    }

    fn reset_on_close(&self) {
        // A socket that cannot be set is one that is gone.
        let _ = rustix::net::sockopt::set_socket_linger(self, Some(Duration::ZERO));
    }
}

#[cfg(unix)]
impl Peek for tokio::net::UnixStream {
    fn has_bytes(&self) -> io::Result<bool> {
        peek(self)
    }

    /// Unix sockets know no reset: the peer sees the end in the middle.
    fn reset_on_close(&self) {}
}

/// In memory nothing waits outside of the runtime.
impl Peek for tokio::io::DuplexStream {
    fn has_bytes(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn reset_on_close(&self) {}
}

impl<T: Peek + ?Sized> Peek for Box<T> {
    fn has_bytes(&self) -> io::Result<bool> {
        (**self).has_bytes()
    }

    fn reset_on_close(&self) {
        (**self).reset_on_close();
    }
}
