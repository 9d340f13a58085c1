//! What is written down of what was cut, and who is told of it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::Tracker;
use crate::{
    Abandoned, CutReason, log, metrics,
    sync::{Mutex, lock},
};

type Listener = Arc<dyn Fn(&Abandoned) + Send + Sync>;

#[derive(Default)]
pub(super) struct Ledger {
    abandoned: Mutex<Vec<Abandoned>>,
    listeners: Mutex<Vec<Listener>>,
    queries: AtomicBool,
    hurried: AtomicBool,
}

impl Ledger {
    pub(super) fn set_hurried(&self, hurried: bool) {
        self.hurried.store(hurried, Relaxed);
    }

    pub(super) fn take(&self) -> Vec<Abandoned> {
        std::mem::take(&mut lock(&self.abandoned))
    }
}

impl Tracker {
    /// Calls `listener` for every request that is cut, when it is cut: for a log, a journal, a retry queue.
    ///
    /// It is called in the task of the request, one call for each; all of them are in the
    /// [`Report`](crate::Report) as well. It must be brief: what takes time belongs on a channel, with a
    /// hook of [`Phase::Closed`](crate::Phase::Closed) that waits for its other end.
    pub fn on_abandoned(&self, listener: impl Fn(&Abandoned) + Send + Sync + 'static) {
        lock(&self.0.ledger.listeners).push(Arc::new(listener));
    }

    /// Whether the queries of cut requests are kept with their paths: off, for queries carry secrets. Whoever wants to
    /// repeat a request needs them.
    pub fn keep_queries(&self, keep: bool) {
        self.0.ledger.queries.store(keep, Relaxed);
    }

    pub(crate) fn keeps_queries(&self) -> bool {
        self.0.ledger.queries.load(Relaxed)
    }

    pub(crate) fn cut_reason(&self) -> CutReason {
        match self.0.ledger.hurried.load(Relaxed) {
            true => CutReason::Hurried,
            false => CutReason::Deadline,
        }
    }

    pub(crate) fn abandoned(&self, request: Abandoned) {
        log::abandoned(&request);
        metrics::abandoned();
        // Called with the lock free: a listener may ask the tracker anything.
        let listeners = lock(&self.0.ledger.listeners).clone();
        listeners.iter().for_each(|listener| listener(&request));
        lock(&self.0.ledger.abandoned).push(request);
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}
