//! A connection without an HTTP server: before its first bytes, parked, on its way to the successor.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use graceful_layer::{Graceful, conn::ConnIo};
use tokio::io::AsyncWrite;

use super::BoxError;
use crate::{http::Protocol, transport::Transport};

/// A stream that no HTTP server has: until its first bytes are there, which costs no buffers but what they need, while it
/// is parked, and while it moves.
pub(super) struct Silent<S> {
    pub(super) io: ConnIo<Transport>,
    pub(super) service: Graceful<S>,
    /// What was spoken before: it stays so.
    known: Option<Protocol>,
    /// Nothing comes any more.
    ended: bool,
}

impl<S> Silent<S> {
    pub(super) fn boxed(
        io: ConnIo<Transport>,
        service: Graceful<S>,
        known: Option<Protocol>,
    ) -> Box<Self> {
        Box::new(Self {
            io,
            service,
            known,
            ended: false,
        })
    }

    /// Finishes the handshake, if there is one, and reads until it is clear what is spoken: `None` if the stream ended with
    /// nothing unread, and is closed.
    pub(super) fn poll_spoken(
        &mut self,
        protocol: Protocol,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Protocol>, BoxError>> {
        let io = &mut self.io;
        if io.stream().is_handshaking() {
            ready!(io.stream_mut().poll_handshake(cx))?;
            io.set_handshaking(false);
        }
        let spoken = self.known.or_else(|| io.stream().agreed());
        let mut spoken = spoken.unwrap_or(protocol);
        loop {
            // A connection that begins with an empty line speaks HTTP/1, and has sent no request yet.
            if spoken != Protocol::Http2 && io.skip_empty_lines() {
                spoken = Protocol::Http1;
                self.known = Some(spoken);
            }
            // A fixed protocol waits for a byte as well: until then nothing is set up.
            match spoken.detect(io.ahead(), self.ended) {
                Some(spoken) if io.has_begun() => return Poll::Ready(Ok(Some(spoken))),
                _ if self.ended => break,
                _ => match ready!(io.poll_read_ahead(cx)) {
                    Ok(more) => self.ended = !more,
                    // As hyper takes it between two requests.
                    Err(_) if self.known.is_some() => self.ended = true,
                    Err(error) => return Poll::Ready(Err(error.into())),
                },
            }
        }
        ready!(Pin::new(io).poll_shutdown(cx))?;
        Poll::Ready(Ok(None))
    }
}
