//! The atomics and locks of the tracker, exchangeable for loom's.
//!
//! Under `--cfg graceful_loom` they are loom's, so that its models see every access. A cfg of our own,
//! because `--cfg loom` also reaches tokio and breaks it.

#[cfg(not(graceful_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering},
};

#[cfg(graceful_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering},
};
#[cfg(graceful_loom)]
pub(crate) use std::sync::PoisonError;

/// Locks `mutex`, also after a panic elsewhere: what these locks guard is whole between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
