//! One change of the serving generation: a restart, or the stop at the end.

use std::time::{Duration, Instant};

use crate::process::Exit;

/// From the signal to the end of the process that got it.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The generation that ends.
    pub(crate) from: u32,
    pub(crate) pid: i32,
    /// A stop wants no successor.
    pub(crate) is_stop: bool,
    pub(crate) signalled: Instant,
    /// When the successor served.
    pub(crate) ready: Option<Instant>,
    /// When the old process had ended, and how.
    pub(crate) ended: Option<(Instant, Exit)>,
    /// The slowest answer to a request that was under way meanwhile and should have been quick.
    pub(crate) slowest: Duration,
}

impl Change {
    /// Whether a request that began at `started` and has just ended was under way during this
    /// change.
    pub(crate) fn overlaps(&self, started: Instant) -> bool {
        self.ended.is_none_or(|(ended, _)| started < ended)
    }
}
