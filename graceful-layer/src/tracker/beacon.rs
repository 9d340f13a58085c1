//! Holds a drain for work that is neither a request nor a connection.

use crate::state::Arena;

/// Holds the drain while it lives: a queue consumer's message, a background job, a listener not yet closed.
///
/// Made by [`Tracker::beacon`](crate::Tracker::beacon). At the cutoff the drain no longer waits for it, and the
/// report names its label.
#[derive(Debug)]
#[must_use = "the drain is held only while this lives"]
pub struct Beacon {
    arena: &'static Arena,
    id: u64,
}

impl Beacon {
    pub(crate) fn new(arena: &'static Arena, label: String) -> Self {
        Self {
            arena,
            id: arena.light(label),
        }
    }
}

impl Drop for Beacon {
    fn drop(&mut self) {
        self.arena.put_out(self.id);
    }
}
