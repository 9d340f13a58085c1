//! Holds a drain for work that is neither a request nor a connection.

use crate::state::{Arena, Blocker};

/// Holds the drain while it lives: a queue consumer's message, a background job, a listener not yet closed.
///
/// Made by [`Tracker::beacon`](crate::Tracker::beacon). While a drain waits for it, the log names it every five seconds, as
/// `drain guard "LABEL"`. At the cutoff the drain no longer waits for it, and the report names its label.
#[derive(Debug)]
#[must_use = "the drain is held only while this lives"]
pub struct Beacon {
    arena: &'static Arena,
    id: u64,
}

impl Beacon {
    pub(crate) fn new(arena: &'static Arena, blocker: Blocker) -> Self {
        Self {
            arena,
            id: arena.light(blocker),
        }
    }
}

impl Drop for Beacon {
    fn drop(&mut self) {
        self.arena.put_out(self.id);
    }
}
