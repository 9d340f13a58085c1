//! Watches the frames of one connection in the order in which they pass.
//!
//! After GOAWAY a client must not open streams (RFC 9113 §6.8), but the `h2` crate may have one
//! queued when GOAWAY arrives, and sends it late. A right server refuses it, and that is not the
//! server's loss. Here the order is known: the highest stream written by the time the end was read
//! is the last one that the server had to expect.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the frames said so far. Written by the connection's task alone, so relaxed order is enough:
/// a reader learns of the end through `h2`, whose lock comes between.
#[derive(Debug, Default)]
pub(super) struct Wire {
    opened: AtomicU32,
    last: AtomicU32,
    told: AtomicBool,
    ended: AtomicBool,
    failed: AtomicBool,
}

impl Wire {
    /// Whether GOAWAY was read.
    pub(super) fn was_told(&self) -> bool {
        self.told.load(Relaxed)
    }

    /// Whether it ended by an error of the socket. `h2` keeps that to itself when a write sees it
    /// first.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    /// Whether the connection takes no more streams: GOAWAY, end of stream or an error was read.
    pub(super) fn is_over(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// Whether `stream` was on the wire before the end of the connection could be known. On a
    /// connection on which nothing was ever sent the first stream counts as sent: it was accepted,
    /// and never served.
    pub(super) fn was_in_time(&self, stream: u32) -> bool {
        let last = self.last.load(Relaxed);
        !self.is_over() || stream <= last || (last == 0 && !self.was_told())
    }

    fn wrote(&self, frame: Frame) {
        if frame.kind == HEADERS {
            self.opened.fetch_max(frame.stream, Relaxed);
        }
    }

    fn read(&self, frame: Frame) {
        if frame.kind == GOAWAY {
            self.told.store(true, Relaxed);
            self.end();
        }
    }

    fn fail(&self, error: io::Error) -> io::Error {
        self.failed.store(true, Relaxed);
        self.end();
        error
    }

    fn end(&self) {
        if !self.ended.load(Relaxed) {
            self.last.store(self.opened.load(Relaxed), Relaxed);
            self.ended.store(true, Relaxed);
        }
    }
}

/// The bytes of a connection, with a [`Wire`] that sees them pass.
#[derive(Debug)]
pub(super) struct Watched<T> {
    inner: T,
    wire: Arc<Wire>,
    outgoing: Frames,
    incoming: Frames,
}

impl<T> Watched<T> {
    pub(super) fn new(inner: T, wire: Arc<Wire>) -> Self {
        let (outgoing, incoming) = (Frames::after(PREFACE), Frames::after(0));
        Self {
            inner,
            wire,
            outgoing,
            incoming,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut this.inner).poll_read(cx, buffer));
        read.map_err(|error| this.wire.fail(error))?;
        let bytes = &buffer.filled()[before..];
        if bytes.is_empty() {
            this.wire.end();
        }
        this.incoming.pass(bytes, |frame| this.wire.read(frame));
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, bytes));
        let written = written.map_err(|error| this.wire.fail(error))?;
        this.outgoing
            .pass(&bytes[..written], |frame| this.wire.wrote(frame));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

/// Finds the frame heads in a stream of bytes that comes in pieces of any size.
#[derive(Debug)]
struct Frames {
    skip: usize,
    head: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Frame {
    kind: u8,
    stream: u32,
}

impl Frames {
    fn after(skip: usize) -> Self {
        Self {
            skip,
            head: Vec::with_capacity(HEAD),
        }
    }

    fn pass(&mut self, mut bytes: &[u8], mut see: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let missing = (HEAD - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if let [l0, l1, l2, kind, _flags, s0, s1, s2, s3] = self.head[..] {
                self.skip = u32::from_be_bytes([0, l0, l1, l2]) as usize;
                self.head.clear();
                see(Frame {
                    kind,
                    stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
                });
            }
        }
    }
}

/// RFC 9113 §3.4, §4.1, §6.2, §6.8.
const PREFACE: usize = 24;
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, 0, 0, 0, 0, stream], payload].concat()
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let bytes = [
            vec![b'p'; PREFACE],
            frame(HEADERS, 1, b"\x01\x01"),
            frame(0, 1, b""),
            frame(HEADERS, 3, b"abc"),
        ];
        for size in 1..40 {
            let mut frames = Frames::after(PREFACE);
            let mut seen = Vec::new();
            for piece in bytes.concat().chunks(size) {
                frames.pass(piece, |frame| seen.push((frame.kind, frame.stream)));
            }
            assert_eq!(
                seen,
                [(HEADERS, 1), (0, 1), (HEADERS, 3)],
                "in pieces of {size}"
            );
        }
    }

    #[test]
    fn a_stream_written_after_goaway_was_read_is_not_in_time() {
        let wire = Wire::default();
        wire.wrote(Frame {
            kind: HEADERS,
            stream: 5,
        });
        wire.read(Frame {
            kind: GOAWAY,
            stream: 0,
        });
        wire.wrote(Frame {
            kind: HEADERS,
            stream: 7,
        });
        wire.end();
        assert_eq!(
            [3, 5, 7, 9].map(|stream| wire.was_in_time(stream)),
            [true, true, false, false]
        );
        assert!(wire.was_told());
    }

    #[test]
    fn on_a_connection_never_served_every_stream_counts_as_sent() {
        let wire = Wire::default();
        wire.end();
        assert!(wire.was_in_time(1) && !wire.was_told());
    }
}
