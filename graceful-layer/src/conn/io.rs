//! The wrapper around a connection's stream: notes what happens on it, and closes it politely (laws 2 and 6).

use std::{
    fmt, io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::{
    Peek,
    frames::{Frames, PONG, Preface},
    waiting::Waiting,
};
use crate::{
    phase::Phase,
    state::{Cell, IoPart, Orders},
};

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
    ahead: Ahead,
    lingering: Option<Box<Linger>>,
    preface: Preface,
    http2: Option<Box<Http2>>,
    at_end: bool,
    /// The end was shown that the drain ordered, after a last look that found nothing.
    ended: bool,
    waiting: Waiting,
    part: IoPart,
}

/// How long a peer may take for the PONG to our GOAWAY, counted from the GOAWAY's flush: a round trip, amply.
const PONG_GRACE: Duration = Duration::from_secs(1);

/// What is kept of a connection that speaks HTTP/2.
#[derive(Debug, Default)]
struct Http2 {
    frames: Frames,
    /// Runs from the flush of the GOAWAY.
    pong: Option<Pin<Box<Sleep>>>,
    answered: bool,
    /// How many bytes had come when the time was over in the middle of a frame.
    seen: Option<u64>,
    /// In that frame nothing has come for as long again.
    stuck: bool,
}

impl Http2 {
    /// The GOAWAY is with the kernel: from now on the peer has its time.
    fn expect_pong(&mut self, cx: &mut Context<'_>) {
        if self.pong.is_none() {
            self.frames.forget_pong();
            let mut pong = Box::pin(sleep(PONG_GRACE));
            // Polled for its wake-up: the next read may be the one it causes.
            let _ = pong.as_mut().poll(cx);
            self.pong = Some(pong);
        }
    }

    /// Waits for the moment to answer our own PING: the peer did not in time, and is not in the middle of a frame.
    fn poll_pong(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<()> {
        let Some(pong) = &mut self.pong else {
            return Poll::Pending;
        };
        if self.answered || self.frames.has_ponged() {
            return Poll::Pending;
        }
        ready!(pong.as_mut().poll(cx));
        if !self.frames.is_between() {
            self.wait_for_rest(cx);
            return Poll::Pending;
        }
        if buf.remaining() < PONG.len() {
            return Poll::Pending;
        }
        buf.put_slice(&PONG);
        self.answered = true;
        Poll::Ready(())
    }

    /// In the middle of a frame the peer has its time anew, as long as something comes of it.
    fn wait_for_rest(&mut self, cx: &mut Context<'_>) {
        let seen = self.frames.seen();
        self.stuck = self.seen.replace(seen) == Some(seen);
        if let Some(pong) = self.pong.as_mut().filter(|_| !self.stuck) {
            pong.as_mut().reset(Instant::now() + PONG_GRACE);
            let _ = pong.as_mut().poll(cx);
        }
    }
}

/// Bytes that were read before the server asked for them.
#[derive(Debug, Default)]
struct Ahead {
    bytes: Vec<u8>,
    taken: usize,
}

impl Ahead {
    fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    fn take_into(&mut self, buf: &mut ReadBuf<'_>) {
        let rest = &self.bytes[self.taken..];
        let n = buf.remaining().min(rest.len());
        buf.put_slice(&rest[..n]);
        self.taken += n;
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

impl<T: Peek> ConnIo<T> {
    pub(super) fn new(stream: T, part: IoPart) -> Self {
        Self {
            stream: Owned(Some(stream)),
            ahead: Ahead::default(),
            lingering: None,
            preface: Preface::Matched(0),
            http2: None,
            at_end: false,
            ended: false,
            waiting: Waiting::default(),
            part,
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
        ready!(self.poll_stream(cx, &mut buf))?;
        self.ahead.bytes.extend_from_slice(buf.filled());
        Poll::Ready(Ok(!buf.filled().is_empty()))
    }

    /// What was read ahead and not read again.
    pub fn ahead(&self) -> &[u8] {
        &self.ahead.bytes[self.ahead.taken..]
    }

    /// Has `bytes` read again, before everything else: what a server has read and not made a request of.
    pub fn put_back(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut all = bytes.to_vec();
        all.extend_from_slice(self.ahead());
        self.ahead = Ahead {
            bytes: all,
            taken: 0,
        };
        self.note(bytes);
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

    fn cell(&self) -> &'static Cell {
        self.part.cell()
    }

    fn pinned(&mut self) -> Pin<&mut T> {
        Pin::new(self.stream.get_mut())
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match self.pinned().poll_read(cx, buf)? {
            Poll::Ready(()) => {
                let read = &buf.filled()[before..];
                self.note(read);
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                if self.stream().holds_part() {
                    self.cell().note_read();
                }
                self.end_if_ordered(cx, buf)
            }
        }
    }

    fn note(&mut self, read: &[u8]) {
        let cell = self.cell();
        if read.is_empty() {
            self.at_end = true;
            return;
        }
        if let Some(http2) = &mut self.http2 {
            http2.frames.follow(read);
        } else if let Some(rest) = self.preface.follow(read) {
            cell.set_http2();
            self.http2.insert(Box::default()).frames.follow(rest);
        }
        cell.note_read();
    }

    /// Nothing can be read, or written: whether it is to end now. After an upgrade the connection future has gone, and the
    /// cut reaches the new owner here.
    fn is_cut(&mut self, cx: &Context<'_>) -> bool {
        let cell = self.part.cell();
        self.waiting.listen(cell, cx.waker()).says(Orders::CUT)
    }

    fn or_cut<R>(&mut self, cx: &Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        match written {
            Poll::Pending if self.is_cut(cx) => Poll::Ready(Err(cut())),
            written => written,
        }
    }

    /// Nothing to read. If the connection is to close and nothing is on the way, that is the end.
    fn end_if_ordered(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let cell = self.cell();
        if self.is_cut(cx) {
            return Poll::Ready(Err(cut()));
        }
        if self.part.is_hijacked() {
            return Poll::Pending;
        }
        if let Some(http2) = &mut self.http2 {
            if http2.poll_pong(cx, buf).is_ready() {
                return Poll::Ready(Ok(()));
            }
        }
        // An HTTP/2 connection that got as far as a request is closed by its server, after the GOAWAYs. One whose peer went
        // silent in the middle of a frame never gets there.
        let stuck = self.http2.as_ref().is_some_and(|http2| http2.stuck);
        let by_server = cell.is_http2() && cell.begun() > 0 && !stuck;
        let close = cell.orders().says(Orders::CLOSE) && !by_server;
        if !close || !cell.is_quiet() {
            return Poll::Pending;
        }
        match self.stream().has_bytes() {
            // They came in this very moment; the runtime will say so, and the request is served.
            Ok(true) => Poll::Pending,
            _ => {
                self.ended = true;
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Reads and forgets, until the peer closes, has been quiet for the linger, or goes on for too long.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [MaybeUninit::uninit(); 4096];
        loop {
            let mut buf = ReadBuf::uninit(&mut bytes);
            let read = self.pinned().poll_read(cx, &mut buf);
            let Some(lingering) = &mut self.lingering else {
                return Poll::Ready(());
            };
            match read {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => lingering.extend(),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return lingering.quiet.as_mut().poll(cx),
            }
        }
    }

    /// Whether the peer may still send: then closing would make the kernel reset what it has not read yet.
    fn must_linger(&self) -> bool {
        let cell = self.cell();
        let orders = cell.orders();
        let stopping = orders.phase() >= Phase::LameDuck || orders.says(Orders::CLOSE);
        (stopping || cell.has_upload()) && !self.at_end && !cell.arena().linger().is_zero()
    }

    /// Whether nothing is on its way that a close could take from the peer: the drain ended the connection while it was
    /// idle, and the peer's system has its last answer (RFC 9112 §9.6).
    fn is_settled(&self) -> bool {
        self.ended && self.http2.is_none() && self.stream().is_delivered()
    }
}

/// How long a peer may go on sending into a connection that we have closed, like nginx's `lingering_time`.
const LONGEST_LINGER: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Linger {
    quiet: Pin<Box<Sleep>>,
    pause: Duration,
    end: Instant,
}

impl Linger {
    fn new(pause: Duration) -> Self {
        Self {
            quiet: Box::pin(sleep(pause.min(LONGEST_LINGER))),
            pause,
            end: Instant::now() + LONGEST_LINGER,
        }
    }

    fn extend(&mut self) {
        self.quiet
            .as_mut()
            .reset((Instant::now() + self.pause).min(self.end));
    }
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

fn cut() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the drain's deadline cut this connection",
    )
}

impl<T: Peek> AsyncRead for ConnIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            self.ahead.take_into(buf);
            return Poll::Ready(Ok(()));
        }
        self.poll_stream(cx, buf)
    }
}

impl<T: Peek> AsyncWrite for ConnIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.pinned().poll_write(cx, buf);
        self.or_cut(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.pinned().poll_write_vectored(cx, bufs);
        self.or_cut(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.pinned().poll_flush(cx))?;
        self.cell().note_flushed();
        let going_away = self.cell().is_going_away();
        if let Some(http2) = self.http2.as_mut().filter(|_| going_away) {
            http2.expect_pong(cx);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cell().is_leaving() {
            // Its server lets go of it, but nobody closes it.
            return Poll::Ready(Ok(()));
        }
        if self.lingering.is_none() {
            if self.must_linger() && self.is_settled() {
                // The close that follows tells the peer as much as a shutdown, in one step.
                return Poll::Ready(Ok(()));
            }
            ready!(self.pinned().poll_shutdown(cx))?;
            if !self.must_linger() {
                return Poll::Ready(Ok(()));
            }
            self.cell().note_half_closed();
            self.lingering = Some(Box::new(Linger::new(self.cell().arena().linger())));
        }
        self.poll_linger(cx).map(Ok)
    }
}

/// A connection cut in the middle of an answer is reset, so that no client takes the part for the whole.
impl<T: Peek> Drop for ConnIo<T> {
    fn drop(&mut self) {
        let cell = self.part.cell();
        if let Some(stream) = &self.stream.0 {
            // One that is leaving may be another process's by now.
            if cell.orders().says(Orders::CUT) && !cell.is_quiet() && !cell.is_leaving() {
                stream.reset_on_close();
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
