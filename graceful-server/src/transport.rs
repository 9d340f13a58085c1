//! What carries HTTP on a connection: the stream that was accepted, or TLS on it (laws 2 and 6).
//!
//! One type for both, so that hyper is compiled once. A handshake happens inside it: to the tracker the connection is the
//! same before and after.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use graceful_layer::conn::Peek;
use graceful_listener::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::Protocol;
#[cfg(feature = "tls")]
use crate::tls::TlsStream;

pub(crate) enum Transport {
    Plain(Stream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
}

impl Transport {
    /// The stream that was accepted, if HTTP is on it as it is.
    pub(crate) fn as_plain(&self) -> Option<&Stream> {
        match self {
            Self::Plain(stream) => Some(stream),
            #[cfg(feature = "tls")]
            Self::Tls(_) => None,
        }
    }

    /// Whether nothing can be read before [`poll_handshake`](Self::poll_handshake) is ready.
    pub(crate) fn is_handshaking(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.is_handshaking(),
        }
    }

    #[cfg_attr(
        not(feature = "tls"),
        expect(unused_variables, reason = "only TLS has to wait for something")
    )]
    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.poll_handshake(cx),
        }
    }

    /// What was agreed on in the handshake, if anything.
    pub(crate) fn agreed(&self) -> Option<Protocol> {
        match self {
            Self::Plain(_) => None,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.agreed(),
        }
    }
}

#[cfg(feature = "tls")]
impl From<TlsStream> for Transport {
    fn from(stream: TlsStream) -> Self {
        Self::Tls(Box::new(stream))
    }
}

/// Forwards a method to whichever is inside.
macro_rules! forward {
    ($transport:expr, $method:ident($($argument:expr),*)) => {
        match $transport {
            Transport::Plain(stream) => stream.$method($($argument),*),
            #[cfg(feature = "tls")]
            Transport::Tls(stream) => stream.$method($($argument),*),
        }
    };
    (pin $transport:expr, $method:ident($($argument:expr),*)) => {
        match $transport.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).$method($($argument),*),
            #[cfg(feature = "tls")]
            Transport::Tls(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(pin self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(pin self, poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(pin self, poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        forward!(self, is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(pin self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(pin self, poll_shutdown(cx))
    }
}

impl Peek for Transport {
    fn has_bytes(&self) -> io::Result<bool> {
        forward!(self, has_bytes())
    }

    fn holds_part(&self) -> bool {
        forward!(self, holds_part())
    }

    /// Of TLS only the records are known, and its goodbye is still to be written.
    fn is_delivered(&self) -> bool {
        self.as_plain().is_some_and(Stream::is_delivered)
    }

    fn undelivered(&self) -> Option<usize> {
        forward!(self, undelivered())
    }

    fn reset_on_close(&self) {
        forward!(self, reset_on_close());
    }
}
