//! The hand on a manual signal.

use std::sync::Arc;

use crate::Cause;
use crate::cell::Cell;

/// Fires the signal it was made with, by [`ShutdownSignal::manual`](crate::ShutdownSignal::manual).
///
/// ```
/// use graceful_signal::ShutdownSignal;
///
/// let (trigger, signal) = ShutdownSignal::manual();
/// assert!(!signal.has_fired());
/// trigger.fire();
/// assert!(signal.has_fired());
/// ```
#[derive(Clone, Debug)]
pub struct Trigger {
    cell: Arc<Cell>,
}

impl Trigger {
    pub(crate) const fn new(cell: Arc<Cell>) -> Self {
        Self { cell }
    }

    /// Makes one delivery: the first fires the signal, each further one raises its level.
    ///
    /// May be called from any thread, also when no handle of the signal is left.
    pub fn fire(&self) {
        self.cell.deliver(Cause::Manual);
    }
}
