//! Arenas that no tracker leases.

use super::{Arena, Mutex};

#[cfg(not(graceful_loom))]
pub(super) fn get() -> &'static Mutex<Vec<&'static Arena>> {
    static POOL: Mutex<Vec<&'static Arena>> = Mutex::new(Vec::new());
    &POOL
}

/// A model starts from nothing every time: what it leaves behind is not used again.
#[cfg(graceful_loom)]
pub(super) fn get() -> &'static Mutex<Vec<&'static Arena>> {
    Box::leak(Box::new(Mutex::new(Vec::new())))
}
