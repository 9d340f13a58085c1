//! A connection that speaks TLS, from the first byte of its handshake (laws 2 and 6).
//!
//! The handshake is done by whoever polls the connection's own task, so it holds up nobody else, and is dropped with the
//! connection when that is cut. Dropping says nothing to the peer: without a close_notify a truncated answer shows.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use graceful_layer::conn::Peek;
use graceful_listener::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{Accept, TlsAcceptor, rustls::ServerConfig, server};

use super::records::Records;
use crate::http::Protocol;

pub(crate) struct TlsStream(State);

enum State {
    Handshaking(Accept<Records>),
    Established(server::TlsStream<Records>),
    /// The handshake failed; there is nothing to read or write any more.
    Failed,
}

impl TlsStream {
    pub(crate) fn new(stream: Stream, config: Arc<ServerConfig>) -> Self {
        let accept = TlsAcceptor::from(config).accept(Records::new(stream));
        Self(State::Handshaking(accept))
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(self.0, State::Handshaking(_))
    }

    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_established(cx).map_ok(|_| ())
    }

    /// What ALPN has found, if the client asked.
    pub(crate) fn agreed(&self) -> Option<Protocol> {
        let State::Established(stream) = &self.0 else {
            return None;
        };
        match stream.get_ref().1.alpn_protocol() {
            Some(super::config::H2) => Some(Protocol::Http2),
            Some(super::config::HTTP1) => Some(Protocol::Http1),
            _ => None,
        }
    }

    fn poll_established(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Pin<&mut server::TlsStream<Records>>>> {
        if let State::Handshaking(accept) = &mut self.0 {
            let accepted = ready!(Pin::new(accept).poll(cx));
            // Left so by an error: a handshake that has failed must not be polled again.
            self.0 = State::Failed;
            self.0 = State::Established(accepted?);
        }
        Poll::Ready(match &mut self.0 {
            State::Established(stream) => Ok(Pin::new(stream)),
            _ => Err(io::ErrorKind::NotConnected.into()),
        })
    }

    fn socket(&self) -> Option<&Records> {
        match &self.0 {
            State::Handshaking(accept) => accept.get_ref(),
            State::Established(stream) => Some(stream.get_ref().0),
            State::Failed => None,
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_established(cx))?.poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_established(cx))?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_established(cx))?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_established(cx))?.poll_flush(cx)
    }

    /// Says close_notify, then half-closes the socket.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_established(cx))?.poll_shutdown(cx)
    }
}

impl Peek for TlsStream {
    /// Looks both at what rustls has decrypted and not given out, and into the kernel.
    fn has_bytes(&self) -> io::Result<bool> {
        match &self.0 {
            State::Established(stream) if !stream.get_ref().1.wants_read() => Ok(true),
            _ => self
                .socket()
                .map_or(Ok(false), |records| records.stream.has_bytes()),
        }
    }

    fn holds_part(&self) -> bool {
        match &self.0 {
            State::Established(stream) => stream.get_ref().0.is_mid_record(),
            _ => false,
        }
    }

    fn undelivered(&self) -> Option<usize> {
        self.socket()?.stream.undelivered()
    }

    fn reset_on_close(&self) {
        if let Some(records) = self.socket() {
            records.stream.reset_on_close();
        }
    }
}

#[cfg(test)]
mod tests;
