//! What a connection's own task notes of its stream (invariant 7).

use super::Cell;
use crate::sync::Ordering::*;

/// Bytes came of which no request has been made yet.
pub(super) const READ: u8 = 1;
/// HTTP/1: a response is owed, or not flushed. HTTP/2: a response is complete, and not flushed.
pub(super) const OWED: u8 = 2;
/// The last request may have had a body, which may not have been read to its end.
pub(super) const UPLOAD: u8 = 4;
/// The stream is not touched: it is being transferred to another process, which may own it already, or its server is being probed.
pub(super) const UNTOUCHED: u8 = 8;
/// The bytes that arrived begin a request: the server had none before them, or it was detached and returned them.
pub(super) const KNOWN: u8 = 16;
/// The server still holds the body of a request whose response was sent. `READ` is set as well.
pub(super) const HELD: u8 = 32;
/// Empty lines were read after a request with a body, or the last bytes of that body.
pub(super) const BLANK: u8 = 64;
/// Our end is closed. Bytes that the peer still sends are read and dropped.
const CLOSING: u8 = 128;

impl Cell {
    fn set_io(&self, mark: u8, on: bool) {
        let rest = self.io.load(Relaxed) & !mark;
        self.io.store(rest | if on { mark } else { 0 }, Relaxed);
    }

    pub(crate) fn note_untouched(&self, on: bool) {
        self.set_io(UNTOUCHED, on);
    }

    #[inline]
    pub(crate) fn is_untouched(&self) -> bool {
        self.io.load(Relaxed) & UNTOUCHED != 0
    }

    pub(super) fn touch(&self) {
        self.since.store(self.arena.tick(), Relaxed);
    }

    /// Bytes were read that are more than empty lines. While a request is in flight, they are its body.
    #[inline]
    pub(crate) fn note_read(&self) {
        if self.io.load(Relaxed) & READ != 0 {
            return self.note_more();
        }
        if self.in_flight() == 0 && !self.is_http2() {
            self.io.store(self.io.load(Relaxed) | READ, Relaxed);
            self.touch();
            self.end_silence();
        }
    }

    /// Only empty lines were read. They are no request, and leave the connection idle.
    #[cold]
    pub(crate) fn note_blank(&self) {
        if self.has_upload() {
            self.set_io(BLANK, true);
        }
    }

    /// If the server cannot be detached, more bytes after a request with a body count as that body. As long as it makes
    /// progress, it is not closed as incomplete headers.
    #[cold]
    fn note_more(&self) {
        if self.has_upload() && !self.detaches() {
            self.touch();
        }
    }

    /// A request was made of what was read: an answer is owed until it is flushed.
    #[inline]
    pub(crate) fn note_request(&self) {
        if !self.is_http2() {
            self.io.store(OWED, Relaxed);
        }
    }

    /// The server has taken the last byte of a response. HTTP/2 needs this note: its responses end in tasks of their own, and
    /// some of its requests end without a response.
    #[inline]
    pub(crate) fn note_answered(&self) {
        if self.is_http2() && self.io.load(Relaxed) & OWED == 0 {
            self.io.fetch_or(OWED, Relaxed);
        }
    }

    /// Our end is closed, the last answer with the kernel: what still comes is read and forgotten.
    pub(crate) fn note_half_closed(&self) {
        self.io.store(CLOSING, Relaxed);
    }

    /// Whether the server has taken the whole of the last response, and could not send all of it.
    pub(crate) fn is_unsent(&self) -> bool {
        self.io.load(Relaxed) & OWED != 0 && self.in_flight() == 0
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.io.load(Relaxed) & CLOSING != 0
    }

    #[inline]
    pub(crate) fn note_upload(&self) {
        self.io.store(self.io.load(Relaxed) | UPLOAD, Relaxed);
    }

    pub(crate) fn has_upload(&self) -> bool {
        self.io.load(Relaxed) & UPLOAD != 0
    }

    /// Everything written is with the kernel. The answer is out once its request is over too.
    #[inline]
    pub(crate) fn note_flushed(&self) {
        let io = self.io.load(Relaxed);
        if io & OWED == 0 {
            return;
        }
        if self.is_http2() {
            self.io.fetch_and(!OWED, Relaxed);
            self.touch();
        } else if self.in_flight() == 0 {
            self.io.store(io & !OWED, Relaxed);
            self.touch();
        }
    }
}
