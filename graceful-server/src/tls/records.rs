//! The socket below TLS, and where in the client's bytes a record ends (law 6).
//!
//! rustls keeps the beginning of a record until its end is there, and does not say so. An idle connection that holds half
//! a record has half a request, and must not be closed as if nothing were on the way.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use graceful_listener::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A record's type, version and length (RFC 8446 §5.1, and the same in TLS 1.2).
const HEADER: usize = 5;

/// Follows the records of one direction. Costs a few steps per record, nothing per byte.
#[derive(Debug, Default)]
struct Follower {
    header: [u8; HEADER],
    /// How much of the next header is there.
    have: usize,
    /// How much of the current record is still to come.
    rest: usize,
}

impl Follower {
    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skip = self.rest.min(bytes.len());
            self.rest -= skip;
            bytes = &bytes[skip..];
            let take = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + take].copy_from_slice(&bytes[..take]);
            self.have += take;
            bytes = &bytes[take..];
            if self.have == HEADER {
                self.have = 0;
                self.rest = u16::from_be_bytes([self.header[3], self.header[4]]).into();
            }
        }
    }

    fn is_between(&self) -> bool {
        self.have == 0 && self.rest == 0
    }
}

/// A stream of TLS records.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) stream: Stream,
    follower: Follower,
}

impl Records {
    pub(super) fn new(stream: Stream) -> Self {
        let follower = Follower::default();
        Self { stream, follower }
    }

    /// Whether the last byte read was not the last of its record.
    pub(super) fn is_mid_record(&self) -> bool {
        !self.follower.is_between()
    }

    fn pinned(&mut self) -> Pin<&mut Stream> {
        Pin::new(&mut self.stream)
    }
}

impl AsyncRead for Records {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.pinned().poll_read(cx, buf))?;
        self.follower.follow(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Records {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.pinned().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pinned().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_records_are_found_however_the_bytes_come() {
        let bytes = b"\x16\x03\x01\x00\x03abc\x17\x03\x03\x00\x00\x17\x03\x03\x00\x01x";
        let ends = [8, 13, 19];
        for step in 1..=bytes.len() {
            let mut follower = Follower::default();
            let mut seen = 0;
            for part in bytes.chunks(step) {
                follower.follow(part);
                seen += part.len();
                assert_eq!(
                    follower.is_between(),
                    ends.contains(&seen),
                    "after {seen} by {step}"
                );
            }
        }
    }
}
