//! Where deliveries come from: the cell they arrive in, and what must live as long as somebody can
//! still see them. When the last handle goes, so does the source: no task, no handler is left.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::Waker;

use tokio::task::AbortHandle;

use crate::Cause;
use crate::cell::Cell;

/// Shared by all handles of one source, and by nobody else: its drop is the end of the last handle.
pub(crate) struct Source {
    pub(crate) cell: Arc<Cell>,
    _keep: Box<dyn Send + Sync>,
}

impl Source {
    /// A source whose deliveries are made by whoever else holds `cell`; `keep` is dropped with the
    /// last handle.
    pub(crate) fn new(cell: Arc<Cell>, keep: impl Send + Sync + 'static) -> Self {
        Self {
            cell,
            _keep: Box::new(keep),
        }
    }

    /// A source that delivers once, when `event` completes in a task of its own.
    #[track_caller]
    pub(crate) fn when<F>(event: F, cause: Cause) -> Self
    where
        F: Future + Send + 'static,
    {
        let cell = Arc::new(Cell::default());
        let delivered = cell.clone();
        let task = tokio::spawn(async move {
            drop(event.await);
            delivered.deliver(cause);
        });
        Self::new(cell, AbortOnDrop(task.abort_handle()))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.cell).finish()
    }
}

#[derive(Debug)]
pub(crate) struct AbortOnDrop(pub(crate) AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One handle's view of one source: the source and the handle's place in its waiting list.
#[derive(Debug)]
pub(crate) struct Watch {
    source: Arc<Source>,
    key: Option<u64>,
}

impl Watch {
    pub(crate) fn new(source: Source) -> Self {
        Self {
            source: Arc::new(source),
            key: None,
        }
    }

    pub(crate) fn cell(&self) -> &Cell {
        &self.source.cell
    }

    pub(crate) fn join(&mut self, waker: &Waker) -> u32 {
        self.source.cell.join(&mut self.key, waker)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.source, &other.source)
    }
}

/// A clone waits for itself, so it does not share the place in the list.
impl Clone for Watch {
    fn clone(&self) -> Self {
        Self {
            source: self.source.clone(),
            key: None,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.source.cell.leave(key);
        }
    }
}
