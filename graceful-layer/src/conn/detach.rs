//! The tracker's side of a detach: an HTTP/1 connection is taken out of its server between two requests (law 6).
//!
//! `graceful-server/src/connection/detach.rs` lists all ways in which a connection leaves its server, and when each applies.

use std::{fmt, task::Context};

use super::probe::{self, Waits};
use crate::state::{Cell, Part};

/// The permission to take one connection's stream out of its HTTP/1 server, between two requests. Made by
/// [`Connection::detach`](super::Connection::detach).
///
/// The connection's own task checks [`is_due`](Self::is_due) after each poll of the server that returned `Pending`. If the
/// connection is due, the task does this, in order:
///
/// 1. It polls the server once more, in [`probe`](Self::probe). Only [`Waits::ForStream`] means that the server waits
///    for the next request. After any other result the task calls [`hold`](Self::hold): the server still holds the body of
///    the last request, and must be left to finish it.
/// 2. It polls the server in [`end_body`](Self::end_body), so that the reader of a body that ended after the response sees the
///    end of the body.
/// 3. It takes the stream's wrapper out of the server, and gives the bytes that the server had read of a next request to
///    [`ConnIo::take_back`](super::ConnIo::take_back).
/// 4. Without a server, it reads by [`ConnIo::poll_read_ahead`](super::ConnIo::poll_read_ahead). If that returns bytes of a
///    request, the task creates a new server. If it returns the end of the stream, the client or the tracker closes the
///    connection.
///
/// While a connection has this permission, its wrapper returns the end that the tracker orders only from
/// [`poll_read_ahead`](super::ConnIo::poll_read_ahead), and never to a server.
pub struct Detach(Part);

impl Detach {
    /// The end of malformed request headers, regardless of their beginning.
    pub const SPOILER: &[u8] = probe::SPOILER;

    pub(super) fn new(part: Part) -> Self {
        part.cell().set_detaches();
        Self(part)
    }

    /// Whether the connection is to be detached: it was idle for [`Timeouts::park_after`](crate::Timeouts::park_after), or
    /// it is to be closed, or it received bytes that are either a body or the next request. Never while a request is in flight
    /// or a response is not flushed, and never after an upgrade was offered on the connection (known with feature `hyper`).
    /// One load if the tracker has ordered nothing.
    #[inline]
    pub fn is_due(&self) -> bool {
        self.cell().is_to_detach()
    }

    /// Polls the server to find out what it waits for. Meanwhile the wrapper does not touch its stream: a read, a write and a
    /// shutdown return `Pending`. So the server has to be polled once more afterwards, if it is not detached.
    ///
    /// The server is polled with a waker of this method, which passes each wake-up to the task. A server that waits
    /// for anything other than its stream has to keep that waker. hyper 1.12 keeps the waker for a request body before it
    /// reads for the body, on every poll (`body/chan.rs`, `Sender::poll_ready`). For its own `header_read_timeout` it keeps the
    /// waker after it has read.
    pub fn probe<R>(
        &self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> R,
    ) -> (R, Waits) {
        self.run(cx, false, poll)
    }

    fn run<R>(
        &self,
        cx: &Context<'_>,
        spoils: bool,
        poll: impl FnOnce(&mut Context<'_>) -> R,
    ) -> (R, Waits) {
        let probing = Probing::begin(self.cell());
        let found = probe::run(cx.waker(), spoils, poll);
        drop(probing);
        found
    }

    /// Makes a server that waits for the next request, and will be dropped now, release the body of the last request. Returns
    /// whether the bytes that the server has read may end with [`SPOILER`](Self::SPOILER), which the client did not send.
    ///
    /// hyper 1.12 has a flaw: if the last byte of a body with a `Content-Length` arrives after the response, the body's reader
    /// receives the end only with the next request, and an error if the connection ends before that. hyper releases the body,
    /// too, when it reads malformed headers. So it is polled twice, with the end of such headers, while nothing that it writes
    /// reaches the stream. Does nothing if the last request cannot have such a body.
    pub fn end_body<R>(
        &self,
        cx: &Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> R,
    ) -> bool {
        let owes = self.cell().may_owe_end();
        if owes {
            self.run(cx, true, &mut poll);
            self.run(cx, false, &mut poll);
        }
        owes
    }

    /// The server still holds the body of the last request, which has a reader. The connection is active, and due
    /// at each poll, until the server waits for the next request. If no byte of the body arrives for
    /// [`Timeouts::idle`](crate::Timeouts::idle), the server reads the end of the stream.
    pub fn hold(&self) {
        self.cell().hold();
    }

    /// The connection keeps its server until it closes: it is neither parked nor moved, and is closed by the end of its stream.
    pub fn keep_server(&self) {
        self.cell().keep_server();
    }

    /// A server is created for bytes that begin a request. So they are request headers, and not a body.
    #[inline]
    pub fn note_begun(&self) {
        self.cell().note_begun();
    }

    /// The connection has no server, so bytes that have arrived can only be request headers.
    pub fn note_silent(&self) {
        if self.cell().is_mid_head() {
            self.cell().note_begun();
        }
    }

    /// Whether the connection is to go to the successor now: the successor takes it
    /// ([`Tracker::set_moving`](crate::Tracker::set_moving)), no request is in flight, every response is flushed, and no byte
    /// has arrived since. One load while there is no hand-over.
    #[inline]
    pub fn is_to_move(&self) -> bool {
        self.cell().moves() && self.cell().is_quiet()
    }

    /// The stream is being transferred to another process. Until [`stay`](Self::stay), dropping it does not reset it.
    pub fn leave(&self) {
        self.cell().note_untouched(true);
    }

    /// The connection stays: in this hand-over its responses have `Connection: close`, and it is closed like a connection that was
    /// never movable.
    pub fn stay(&self) {
        self.cell().set_stays();
        self.cell().note_untouched(false);
    }

    /// The number of the connection in its tracker.
    pub fn id(&self) -> u64 {
        self.cell().id()
    }

    /// Requests begun on the connection, in this process and in its predecessors.
    pub fn requests(&self) -> u64 {
        self.cell().begun()
    }

    #[inline]
    fn cell(&self) -> &'static Cell {
        self.0.cell()
    }
}

impl fmt::Debug for Detach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detach").field("cell", self.cell()).finish()
    }
}

/// The wrapper does not touch its stream while this exists.
struct Probing(&'static Cell);

impl Probing {
    fn begin(cell: &'static Cell) -> Self {
        cell.note_untouched(true);
        Self(cell)
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.note_untouched(false);
    }
}
