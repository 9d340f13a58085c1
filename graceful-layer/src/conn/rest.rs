//! A connection without its HTTP server, while nothing comes.

use std::fmt;

use crate::state::Part;

/// The permission of one connection to rest. Made by [`Connection::rest`](super::Connection::rest).
///
/// In order: [`is_due`](Self::is_due) is looked at after each poll of the HTTP server. When it is after two polls with no
/// [request](Self::requests) between them, [`begin`](Self::begin) makes the stream's wrapper outlive its server. The server is
/// then asked to end, the wrapper taken out of it, and what the server had read put
/// [back](super::ConnIo::put_back); [`settle`](Self::settle) says that it is done, or [`refuse`](Self::refuse) that the server did
/// not end. The wrapper's [`poll_read_ahead`](super::ConnIo::poll_read_ahead) waits for what comes next, which ends the rest.
///
/// One poll is not enough: a server may have answered a request in it whose body it then gives up, and with it the
/// connection; it ends like one that was idle.
pub struct Rest(Part);

impl Rest {
    pub(super) fn new(part: Part) -> Self {
        part.cell().set_rests();
        Self(part)
    }

    /// Whether the connection has been idle for [`Timeouts::rest`](crate::Timeouts::rest), every answer flushed and no byte
    /// come since. Never after an upgrade was asked for on it (known with feature `hyper`). One load while it has not.
    #[inline]
    pub fn is_due(&self) -> bool {
        self.0.cell().is_to_rest()
    }

    /// Requests begun on the connection.
    pub fn requests(&self) -> u64 {
        self.0.cell().begun()
    }

    /// From here on shutting the stream down does nothing, as after [`Departure::begin`](super::Departure::begin). For the
    /// connection's own task.
    pub fn begin(&self) {
        self.0.cell().note_leaving(true);
    }

    /// The server has let go of the stream, and shutting it down is what it was.
    pub fn settle(&self) {
        self.0.cell().note_leaving(false);
    }

    /// The server goes on, for it was in the middle of something. It has been asked to end and will, so the connection neither
    /// rests nor moves any more.
    pub fn refuse(&self) {
        self.settle();
        self.0.cell().keep_server();
        self.0.cell().end_rest();
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").field("cell", self.0.cell()).finish()
    }
}
