//! How a tracked stream ends: when a read shows the end that was ordered, and what a close must not take from the peer (law 6).

use std::{
    io,
    mem::MaybeUninit,
    task::{Context, Poll, ready},
};

use tokio::io::ReadBuf;

use super::{ConnIo, Rare, Reader, Spoken};
use crate::{
    CutReason, Tracker,
    conn::{
        Peek,
        linger::Linger,
        unread::{Look, Unread},
    },
    phase::Phase,
    state::{Cell, Orders},
};

impl<T: Peek> ConnIo<T> {
    /// Nothing to read. If the connection is to close and nothing is on the way, that is the end.
    #[inline]
    pub(super) fn end_if_ordered(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        reader: Reader,
    ) -> Poll<io::Result<()>> {
        let cell = self.cell();
        if self.stream().holds_part() {
            cell.note_read();
        }
        let orders = self.waiting.listen(cell, cx.waker());
        let leaving = self.spoken == Spoken::Http2Leaving;
        if !leaving && !orders.says(Orders::CUT | Orders::CLOSE) {
            return Poll::Pending;
        }
        self.end(cx, buf, orders, reader)
    }

    #[cold]
    fn end(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        orders: Orders,
        reader: Reader,
    ) -> Poll<io::Result<()>> {
        if orders.says(Orders::CUT) {
            return Poll::Ready(Err(cut()));
        }
        if self.part.is_hijacked() {
            return Poll::Pending;
        }
        let mut stuck = false;
        if let Some(http2) = self.http2() {
            if http2.poll_pong(cx, buf).is_ready() {
                return Poll::Ready(Ok(()));
            }
            stuck = http2.is_stuck();
        }
        // An HTTP/2 connection that was notified is closed by its server, after the second GOAWAY. The server does not get
        // there if the client leaves a frame or a header block incomplete, and is not notified without our connection future.
        let cell = self.cell();
        let by_server = self.http2().is_some() && cell.is_going_away() && !stuck;
        // The connection's task detaches the server first, because only the server knows what it has read.
        let by_task = reader == Reader::Server && cell.detaches();
        let close = orders.says(Orders::CLOSE) && !by_server && !by_task;
        if !close || !cell.may_end() {
            return Poll::Pending;
        }
        match self.stream().has_bytes() {
            // They came in this very moment; the runtime will say so, and the request is served.
            Ok(true) => Poll::Pending,
            _ => {
                self.note_incomplete(Some(CutReason::IncompleteHeader));
                self.ended = true;
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Whether the connection is HTTP/2 and was notified: hyper writes its GOAWAY, or has written it.
    #[inline]
    pub(super) fn is_going_away(&self) -> bool {
        matches!(self.spoken, Spoken::Http2 | Spoken::Http2Leaving) && self.cell().is_going_away()
    }

    /// Everything written is with the kernel, the GOAWAY too.
    #[cold]
    pub(super) fn note_goodbye(&mut self, cx: &mut Context<'_>) {
        self.spoken = Spoken::Http2Leaving;
        let rare = self.rare();
        rare.unread = None;
        if let Some(http2) = &mut rare.http2 {
            http2.expect_pong(cx);
        }
    }

    /// A write has to wait. Whether it waits for a peer that no longer reads, and to which nothing is owed.
    #[cold]
    pub(super) fn is_unread(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.is_going_away() || self.part.is_hijacked() {
            return false;
        }
        let (stream, cell) = (self.stream.get(), self.part.cell());
        let unread = &mut self.rare.get_or_insert_default().unread;
        let unread = unread.get_or_insert_with(|| Unread::new(stream.undelivered()));
        let look = || Look {
            undelivered: stream.undelivered(),
            busy: !cell.is_quiet(),
            has_bytes: matches!(stream.has_bytes(), Ok(true)),
        };
        let is_unread = unread.poll(cx, look).is_ready();
        if is_unread {
            note(cell, Some(CutReason::NotReading));
        }
        is_unread
    }

    /// Notes for the report that the client has sent a part of an HTTP/2 frame or header block, and that the connection ends
    /// before the rest. Without a reason it ends by the cutoff.
    #[cold]
    pub(super) fn note_incomplete(&self, reason: Option<CutReason>) {
        let http2 = self.rare.as_ref().and_then(|rare| rare.http2.as_ref());
        if http2.is_some_and(|http2| http2.frames.is_incomplete()) {
            note(self.cell(), reason);
        }
    }

    /// Half-closes, and lingers if the peer may still send (RFC 9112 §9.6).
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A connection in linger looks idle. Bytes that still arrive on it are no request.
        self.cell().keep_server();
        if !self.is_lingering() {
            if self.must_linger() && self.is_settled() {
                // The close that follows tells the peer as much as a shutdown, in one step.
                return Poll::Ready(Ok(()));
            }
            ready!(self.pinned().poll_shutdown(cx))?;
            if !self.must_linger() {
                return Poll::Ready(Ok(()));
            }
            self.cell().note_half_closed();
            let (pause, stopping) = (self.cell().arena().linger(), self.is_stopping());
            self.rare().lingering = Some(Linger::new(pause, stopping));
        }
        self.poll_linger(cx).map(Ok)
    }

    /// Reads and forgets, until the peer closes, has been quiet for the linger, or goes on for too long.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [MaybeUninit::uninit(); 4096];
        let stopping = self.is_stopping();
        let too_long = loop {
            let mut buf = ReadBuf::uninit(&mut bytes);
            let read = self.pinned().poll_read(cx, &mut buf);
            let Some(lingering) = &mut self.rare().lingering else {
                return Poll::Ready(());
            };
            match read {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    if lingering.extend(stopping) {
                        break true;
                    }
                }
                Poll::Ready(_) => break false,
                Poll::Pending => break ready!(lingering.poll_quiet(cx)),
            }
        };
        if too_long {
            note(self.cell(), Some(CutReason::StillSending));
        }
        Poll::Ready(())
    }

    fn is_stopping(&self) -> bool {
        self.cell().orders().phase() > Phase::Serving
    }

    fn is_lingering(&self) -> bool {
        let lingering = |rare: &Rare| rare.lingering.is_some();
        self.rare.as_deref().is_some_and(lingering)
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
        let http2 = matches!(self.spoken, Spoken::Http2 | Spoken::Http2Leaving);
        self.ended && !http2 && self.stream().is_delivered()
    }
}

#[cold]
fn note(cell: &Cell, reason: Option<CutReason>) {
    if let Some(tracker) = Tracker::of(cell.arena()) {
        let reason = reason.unwrap_or_else(|| tracker.cut_reason());
        tracker.note_closed(cell, reason);
    }
}

pub(super) fn unread() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "the client reads nothing, not even the GOAWAY of this connection",
    )
}

pub(super) fn cut() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the drain's deadline cut this connection",
    )
}
