//! A connection's way to another process: when it may go, and what keeps its stream open meanwhile (law 6).

use std::fmt;

use crate::state::Part;

/// The permission of one connection to move to the successor. Made by [`Connection::departure`](super::Connection::departure).
///
/// In order: [`is_due`](Self::is_due) is looked at after each poll of the HTTP server; when it is after two polls with no request
/// between them, for the reason that [`Rest`](super::Rest) has as well, [`begin`](Self::begin)
/// makes the stream's wrapper outlive its server, which is then ended, and gives back the wrapper and what it had
/// read and not understood. The stream and those bytes travel. If they cannot, [`stay`](Self::stay) makes
/// the connection one like all others, and [`ConnIo::put_back`](super::ConnIo::put_back) gives the bytes to a new server.
///
/// Dropping it is staying.
pub struct Departure(Part);

impl Departure {
    pub(super) fn new(part: Part) -> Self {
        part.cell().set_movable(true);
        Self(part)
    }

    /// Whether the connection is to go now: a successor takes it, no request is in flight, every answer is flushed, and
    /// no byte has come since. One load while there is no hand-over.
    ///
    /// A server may have read bytes of a next request together with the last one. They are not seen here: take them
    /// out of it.
    pub fn is_due(&self) -> bool {
        let cell = self.0.cell();
        cell.moves() && cell.is_quiet()
    }

    /// From here on shutting the stream down does nothing. For the connection's own task.
    pub fn begin(&self) {
        self.0.cell().note_leaving(true);
    }

    /// The connection stays: in this hand-over it is told to close, and closed, as if it had never been movable.
    pub fn stay(&self) {
        self.0.cell().set_stays();
        self.0.cell().note_leaving(false);
    }

    /// The number of the connection in its tracker.
    pub fn id(&self) -> u64 {
        self.0.cell().id()
    }

    /// Requests begun on the connection, in this process and in those before.
    pub fn requests(&self) -> u64 {
        self.0.cell().begun()
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.0.cell().set_movable(false);
    }
}

impl fmt::Debug for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Departure")
            .field("cell", self.0.cell())
            .finish()
    }
}
