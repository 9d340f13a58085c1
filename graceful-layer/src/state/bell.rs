//! Wakes the one task that waits for the end of a drain.

use std::task::Waker;

use crate::sync::{Mutex, lock};

/// A slot for one waker. Ringing without anybody there does nothing: the waiter registers, then looks.
#[derive(Debug)]
pub(crate) struct Bell(Mutex<Option<Waker>>);

impl Bell {
    pub(super) fn new() -> Self {
        Self(Mutex::new(None))
    }

    pub(crate) fn register(&self, waker: &Waker) {
        let replaced = lock(&self.0).replace(waker.clone());
        // Dropped with the lock free, for a waker may be all that keeps a task.
        drop(replaced);
    }

    /// Lets go of whoever waited: a waker keeps its task, and that its whole runtime.
    pub(super) fn forget(&self) {
        let forgotten = lock(&self.0).take();
        drop(forgotten);
    }

    pub(crate) fn ring(&self) {
        let waker = lock(&self.0).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
