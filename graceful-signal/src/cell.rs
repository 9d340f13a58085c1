//! What one source has delivered so far, and who waits for more. Keeps law 1 (late subscribers see
//! it) and law 13 (nothing here panics on input).
//!
//! # Invariants
//! 1. `level` only grows; it is written under the lock and may be read without it.
//! 2. `first` is set before `level` leaves zero, and never changes.
//! 3. A waiter joins the list and reads `level` under one lock, so a delivery either is in what it
//!    reads or finds it on the list.
//! 4. No foreign code (the wake or the drop of a waker) runs while the lock is held.

use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::Cause;

#[derive(Debug, Default)]
pub(crate) struct Cell {
    level: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    first: Option<(Instant, Cause)>,
    waiters: BTreeMap<u64, Waker>,
    next_key: u64,
}

impl Cell {
    /// Records one delivery, wakes everybody who waits and returns the new level.
    pub(crate) fn deliver(&self, cause: Cause) -> u32 {
        let mut state = self.lock();
        let level = self.level.load(Ordering::Relaxed).saturating_add(1);
        #[cfg(feature = "tracing")]
        let shown = cause.clone();
        state.first.get_or_insert_with(|| (Instant::now(), cause));
        // Pairs with the Acquire in `level`: who sees the level finds `first` set.
        self.level.store(level, Ordering::Release);
        let waiters = mem::take(&mut state.waiters);
        drop(state);
        #[cfg(feature = "tracing")]
        tracing::info!(target: "graceful_signal", level, cause = %shown, "shutdown signal delivered");
        waiters.into_values().for_each(Waker::wake);
        level
    }

    pub(crate) fn level(&self) -> u32 {
        self.level.load(Ordering::Acquire)
    }

    pub(crate) fn first(&self) -> Option<(Instant, Cause)> {
        self.lock().first.clone()
    }

    /// Has `waker` woken at the next delivery, in the place `key` names (a new one if `None`), and
    /// returns the level before that delivery.
    pub(crate) fn join(&self, key: &mut Option<u64>, waker: &Waker) -> u32 {
        let waker = waker.clone();
        let mut state = self.lock();
        let key = *key.get_or_insert(state.next_key);
        state.next_key = state.next_key.max(key + 1);
        let replaced = state.waiters.insert(key, waker);
        let level = self.level();
        drop(state);
        drop(replaced);
        level
    }

    pub(crate) fn leave(&self, key: u64) {
        let left = self.lock().waiters.remove(&key);
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_test::{assert_pending, task};

    use super::*;
    use crate::ShutdownSignal;
    use crate::source::Source;

    #[test]
    fn a_waiter_that_goes_leaves_nothing_behind() {
        let cell = Arc::new(Cell::default());
        let waiters = || cell.lock().waiters.len();
        let signal = ShutdownSignal::from_source(Source::new(cell.clone(), ()));
        let mut clone = task::spawn(signal.clone());
        let mut second = task::spawn(signal.reached(2));
        assert_pending!(clone.poll());
        assert_pending!(clone.poll());
        assert_eq!(waiters(), 1, "polling twice is waiting once");
        assert_pending!(second.poll());
        assert_eq!(waiters(), 2);
        drop(clone);
        assert_eq!(waiters(), 1);
        drop(second);
        assert_eq!(waiters(), 0);
    }

    #[test]
    fn who_joins_after_a_delivery_is_told_at_once() {
        let cell = Cell::default();
        cell.deliver(Cause::Manual);
        assert_eq!(cell.join(&mut None, Waker::noop()), 1);
    }

    #[test]
    fn the_level_stays_at_its_maximum() {
        let cell = Cell {
            level: AtomicU32::new(u32::MAX),
            ..Cell::default()
        };
        assert_eq!(cell.deliver(Cause::Manual), u32::MAX);
    }
}
