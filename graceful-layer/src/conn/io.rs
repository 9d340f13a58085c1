//! The wrapper around a connection's stream: notes what happens on it (law 2).

use std::{
    fmt, io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    Peek,
    ahead::{Ahead, is_blank},
    frames::Preface,
    linger::Linger,
    pong::Http2,
    probe,
    unread::Unread,
    waiting::Waiting,
};
use crate::state::{Cell, IoPart, Orders};

mod close;

use self::close::{cut, unread};

/// A stream whose connection is tracked. Made by [`Connection::io`](super::Connection::io).
///
/// In normal service it forwards everything and notes the first bytes of a request and the flush of its answer. When
/// the drain asks an idle connection to close, a read reports end of file once nothing has arrived, by a last look
/// into the kernel; the server then shuts the stream down as if the client had. A shutdown during a stop, or after a
/// request that had a body, half-closes, reads on until the peer closes or is quiet for
/// [`Grace::linger`](crate::Grace::linger), and only then completes, because closing a socket with unread bytes makes
/// the kernel reset it and the client lose the answer. An idle connection whose last answer the peer's system has
/// acknowledged ([`Peek::is_delivered`]) has nothing to lose, and is closed without waiting.
///
/// # References
/// RFC 9112 §9.6 (tear-down in stages).
pub struct ConnIo<T: Peek> {
    stream: Owned<T>,
    part: IoPart,
    waiting: Waiting,
    spoken: Spoken,
    at_end: bool,
    /// The end was shown that the drain ordered, after a last look that found nothing.
    ended: bool,
    ahead: Ahead,
    /// Most connections never have any of it.
    rare: Option<Box<Rare>>,
}

/// What is known of what the peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Unknown(Preface),
    /// HTTP/1, or whatever it is that is not HTTP/2: what is read goes straight through.
    Plain,
    Http2,
    /// A GOAWAY was sent, whose PONG may not come.
    Http2Leaving,
}

#[derive(Debug, Default)]
struct Rare {
    lingering: Option<Linger>,
    http2: Option<Http2>,
    unread: Option<Unread>,
}

impl<T: Peek> ConnIo<T> {
    pub(super) fn new(stream: T, part: IoPart) -> Self {
        Self {
            stream: Owned(Some(stream)),
            part,
            waiting: Waiting::default(),
            spoken: Spoken::Unknown(Preface::NONE),
            at_end: false,
            ended: false,
            ahead: Ahead::default(),
            rare: None,
        }
    }

    /// Reads more bytes ahead, and says whether there were any: `false` at the end of the stream.
    ///
    /// [`ahead`](Self::ahead) shows them, and a later read gives them again: for finding out what the peer speaks.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut bytes = [MaybeUninit::uninit(); 1024];
        let mut buf = ReadBuf::uninit(&mut bytes);
        ready!(self.poll_stream(cx, &mut buf, Reader::Ahead))?;
        let read = buf.filled();
        self.ahead.append(read);
        Poll::Ready(Ok(!read.is_empty()))
    }

    /// What was read ahead and not read again.
    pub fn ahead(&self) -> &[u8] {
        self.ahead.rest()
    }

    /// Drops the empty lines at the beginning of the bytes that were read ahead, like a server of HTTP/1 between two requests (RFC
    /// 9112 §2.2). Returns whether it dropped any.
    pub fn skip_empty_lines(&mut self) -> bool {
        self.ahead.skip_empty_lines()
    }

    /// Whether the bytes that were read ahead begin a message of HTTP/1: they are more than empty lines and half of an empty line.
    pub fn has_begun(&self) -> bool {
        !is_blank(self.ahead())
    }

    /// Makes the next reads return `bytes`, before everything else: bytes that another process has read on the connection.
    pub fn put_back(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.ahead.prepend(bytes);
            self.note(bytes);
        }
    }

    /// Takes back the bytes that a server had read and not made a request of, after it was [detached](super::Detach): the next
    /// reads return them. Empty lines are dropped, and leave the connection idle.
    pub fn take_back(&mut self, unread: &[u8]) {
        self.ahead.prepend(unread);
        self.skip_empty_lines();
        let begun = self.has_begun() || self.stream().holds_part();
        self.cell().note_detached(begun);
    }

    /// The stream, and what was read ahead of it. For the tracker the connection is over.
    pub fn into_inner(mut self) -> (T, Vec<u8>) {
        let ahead = self.ahead().to_vec();
        (self.stream.take(), ahead)
    }

    /// The stream.
    pub fn stream(&self) -> &T {
        self.stream.get()
    }

    /// The stream, for what is not reading or writing HTTP: finishing a handshake, setting an option.
    pub fn stream_mut(&mut self) -> &mut T {
        self.stream.get_mut()
    }

    /// Says that a TLS handshake begins or is over, like [`Connection::set_handshaking`](super::Connection::set_handshaking):
    /// for handshakes that happen inside the stream.
    pub fn set_handshaking(&self, handshaking: bool) {
        self.cell().set_handshaking(handshaking);
    }

    #[inline]
    fn cell(&self) -> &'static Cell {
        self.part.cell()
    }

    #[inline]
    fn pinned(&mut self) -> Pin<&mut T> {
        Pin::new(self.stream.get_mut())
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn http2(&mut self) -> Option<&mut Http2> {
        self.rare.as_mut()?.http2.as_mut()
    }

    #[inline(always)]
    fn poll_stream(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        reader: Reader,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = self.pinned().poll_read(cx, buf);
        match read {
            Poll::Ready(Ok(())) => self.note(&buf.filled()[before..]),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => return self.end_if_ordered(cx, buf, reader),
        }
        read
    }

    #[inline(always)]
    fn note(&mut self, read: &[u8]) {
        if read.is_empty() {
            self.at_end = true;
            return;
        }
        if self.spoken != Spoken::Plain {
            self.follow(read);
        }
        // Between two requests empty lines mean nothing (RFC 9112 §2.2).
        match is_blank(read) {
            false => self.cell().note_read(),
            true => self.cell().note_blank(),
        }
    }

    /// Looks into what was read for what is spoken, and then for HTTP/2's frames.
    fn follow(&mut self, read: &[u8]) {
        let mut frames = read;
        if let Spoken::Unknown(preface) = &mut self.spoken {
            match preface.follow(read) {
                Some(rest) => {
                    frames = rest;
                    self.spoken = Spoken::Http2;
                    self.cell().set_http2();
                    self.rare().http2 = Some(Http2::default());
                }
                None if *preface == Preface::Missing => self.spoken = Spoken::Plain,
                None => {}
            }
        }
        if let Some(http2) = self.http2() {
            http2.frames.follow(frames);
        }
    }

    /// Nothing can be read, or written: whether it is to end now. After an upgrade the connection future has gone, and the
    /// cut reaches the new owner here.
    fn is_cut(&mut self, cx: &Context<'_>) -> bool {
        let cell = self.part.cell();
        self.waiting.listen(cell, cx.waker()).says(Orders::CUT)
    }

    #[inline]
    fn or_cut<R>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        match written {
            Poll::Pending if self.is_cut(cx) => Poll::Ready(Err(cut())),
            Poll::Pending if self.is_unread(cx) => Poll::Ready(Err(unread())),
            written => written,
        }
    }
}

/// The caller of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Server,
    /// The connection's own task, while it has no server.
    Ahead,
}

/// A stream that is there until `into_inner` takes it out of reach of the wrapper's `Drop`.
struct Owned<T>(Option<T>);

#[expect(
    clippy::expect_used,
    reason = "taken by into_inner only, which consumes the wrapper"
)]
impl<T> Owned<T> {
    fn get(&self) -> &T {
        self.0.as_ref().expect("not taken yet")
    }

    fn get_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("not taken yet")
    }

    fn take(&mut self) -> T {
        self.0.take().expect("not taken yet")
    }
}

impl<T: Peek> AsyncRead for ConnIo<T> {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            self.ahead.take_into(buf);
            return Poll::Ready(Ok(()));
        }
        if self.cell().is_untouched() {
            return probe::poll_read(buf);
        }
        self.poll_stream(cx, buf, Reader::Server)
    }
}

impl<T: Peek> AsyncWrite for ConnIo<T> {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.cell().is_untouched() {
            return Poll::Pending;
        }
        let written = self.pinned().poll_write(cx, buf);
        self.or_cut(cx, written)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.cell().is_untouched() {
            return Poll::Pending;
        }
        let written = self.pinned().poll_write_vectored(cx, bufs);
        self.or_cut(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream().is_write_vectored()
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.pinned().poll_flush(cx);
        ready!(self.or_cut(cx, flushed))?;
        self.cell().note_flushed();
        if self.is_going_away() {
            self.note_goodbye(cx);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cell().is_untouched() {
            return Poll::Pending;
        }
        self.poll_close(cx)
    }
}

/// A connection cut in the middle of an answer is reset, so that no client takes the part for the whole.
impl<T: Peek> Drop for ConnIo<T> {
    fn drop(&mut self) {
        let cell = self.part.cell();
        if let Some(stream) = &self.stream.0 {
            // A connection that is leaving may belong to another process by now.
            if cell.orders().says(Orders::CUT) && !cell.is_untouched() {
                if !cell.is_quiet() {
                    stream.reset_on_close();
                }
                self.note_incomplete(None);
            }
        }
    }
}

#[cfg(unix)]
impl<T: Peek + std::os::fd::AsRawFd> std::os::fd::AsRawFd for ConnIo<T> {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.stream().as_raw_fd()
    }
}

impl<T: Peek> fmt::Debug for ConnIo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnIo")
            .field("cell", self.cell())
            .finish_non_exhaustive()
    }
}
