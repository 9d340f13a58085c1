//! When a connection is to be detached from its server, and its state after that.

use super::{
    Cell, DETACHES, HIJACKED, HTTP2, MOVABLE, STAYS,
    noted::{BLANK, HELD, KNOWN, OWED, READ, UPLOAD},
};
use crate::{phase::Phase, state::Orders, sync::Ordering::*};

impl Cell {
    /// The connection's task takes its stream out of its HTTP/1 server when that is due.
    pub(crate) fn set_detaches(&self) {
        self.set_life(DETACHES, true);
    }

    pub(crate) fn detaches(&self) -> bool {
        self.life.load(Relaxed) & (DETACHES | HTTP2) == DETACHES
    }

    /// The connection cannot be detached any more: it is neither parked nor moved, and is closed by the end of its stream.
    pub(crate) fn keep_server(&self) {
        self.life.fetch_and(!(DETACHES | MOVABLE), Relaxed);
    }

    /// Whether the connection is to be detached now: the sweep ordered that or a close, and nothing is in flight or owed.
    #[inline]
    pub(crate) fn is_to_detach(&self) -> bool {
        let orders = self.orders();
        orders.says(Orders::DETACH | Orders::CLOSE) && self.may_detach(orders)
    }

    /// Bytes that are known to be request headers stay in their server. If they may be a body instead, only `DETACH` is ordered
    /// because of them.
    fn may_detach(&self, orders: Orders) -> bool {
        let io = self.io.load(Relaxed);
        let unread = io & READ == 0 || orders.says(Orders::DETACH);
        self.detaches() && self.in_flight() == 0 && io & (OWED | KNOWN) == 0 && unread
    }

    /// Whether the bytes that arrived may be the body of the last request instead of a next request.
    pub(crate) fn is_unsure(&self) -> bool {
        self.io.load(Relaxed) & KNOWN == 0 && self.detaches()
    }

    /// Whether the server still holds the last request's body, after the response.
    pub(crate) fn is_held(&self) -> bool {
        self.io.load(Relaxed) & HELD != 0
    }

    /// Whether the reader of the last request's body may wait for its end: the end may have arrived after the response.
    pub(crate) fn may_owe_end(&self) -> bool {
        self.io.load(Relaxed) & (READ | BLANK) != 0
    }

    /// The server holds the last request's body. It is probed again after each poll, and each poll counts as progress. After
    /// `CLOSE`, which is ordered if there was none for too long, the server reads the end of the stream.
    pub(crate) fn hold(&self) {
        let io = self.io.load(Relaxed);
        if io & HELD != 0 && self.orders().says(Orders::CLOSE) {
            self.io.store(io & !(READ | HELD), Relaxed);
            return self.keep_server();
        }
        self.io.store(io | READ | HELD, Relaxed);
        self.touch();
        self.change_orders(|old| old & !Orders::CLOSE | Orders::DETACH);
    }

    /// The connection was detached. `begun` is whether the server had read the beginning of a request.
    pub(crate) fn note_detached(&self, begun: bool) {
        let io = self.io.load(Relaxed);
        // It is unknown when a body ended, and when a request began after it. So the time is counted from now.
        let anew = io & HELD != 0 || io & READ != 0 && (!begun || io & UPLOAD != 0);
        self.io.store(if begun { READ } else { 0 }, Relaxed);
        if anew {
            self.touch();
        }
        if anew || begun {
            self.end_silence();
        }
    }

    /// The bytes that arrived begin a request.
    #[inline]
    pub(crate) fn note_begun(&self) {
        self.io.store(self.io.load(Relaxed) | KNOWN, Relaxed);
    }

    /// Bytes have arrived: orders that were given because of the silence before are withdrawn.
    #[inline]
    pub(super) fn end_silence(&self) {
        let silence = Orders::DETACH | Orders::CLOSE;
        if self.orders().says(silence) {
            self.change_orders(|old| old & !silence);
        }
    }

    // Moving to another process.

    /// The connection's task can transfer the connection to a successor.
    pub(crate) fn set_movable(&self) {
        self.set_life(MOVABLE, true);
    }

    pub(crate) fn set_stays(&self) {
        self.life.fetch_or(STAYS, Relaxed);
    }

    /// Whether the connection goes to the successor when it is idle. Until then no response has `Connection: close`.
    pub(crate) fn moves(&self) -> bool {
        let (orders, life) = (self.orders(), self.life.load(Relaxed));
        orders.says(Orders::MOVE)
            && orders.phase() <= Phase::Draining
            && life & (MOVABLE | STAYS | HTTP2 | HIJACKED) == MOVABLE
    }

    /// Whether a close loses nothing that this process knows about.
    pub(crate) fn is_quiet(&self) -> bool {
        self.in_flight() == 0 && self.io.load(Relaxed) & (READ | OWED) == 0
    }
    /// Whether a read may return the end of the stream: that loses nothing that this process knows about. Bytes after a request
    /// with a body count as that body, which has stalled.
    pub(crate) fn may_end(&self) -> bool {
        let io = self.io.load(Relaxed);
        let unread = io & READ == 0 || io & UPLOAD != 0;
        self.in_flight() == 0 && io & OWED == 0 && unread
    }
}
