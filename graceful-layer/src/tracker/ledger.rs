//! The entries of the report, and the callback for aborted requests: aborted requests, closed connections, panics, hooks.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use super::Tracker;
use crate::{
    Abandoned, Cut, CutReason, Panicked, Phase,
    contained::{self, NotePanic},
    log, metrics,
    state::Cell,
    sync::{Mutex, lock},
};

type Listener = Arc<dyn Fn(&Abandoned) + Send + Sync>;

#[derive(Default)]
pub(super) struct Ledger {
    abandoned: Mutex<Vec<Abandoned>>,
    /// Connections that their own tasks or the sweep closed in this shutdown.
    closed: Mutex<Vec<Cut>>,
    panics: Mutex<Vec<Panicked>>,
    /// Labels of hooks that panicked or did not end in time.
    unfinished: Mutex<Vec<String>>,
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

    pub(super) fn take_closed(&self) -> Vec<Cut> {
        std::mem::take(&mut lock(&self.closed))
    }

    pub(super) fn note_unfinished(&self, hook: String) {
        lock(&self.unfinished).push(hook);
    }

    pub(super) fn take_unfinished(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.unfinished))
    }

    pub(super) fn take_panics(&self) -> Vec<Panicked> {
        std::mem::take(&mut lock(&self.panics))
    }
}

impl Tracker {
    /// Calls `listener` for every request that is cut, when it is cut: for a log, a journal, a retry queue.
    ///
    /// It is called in the task of the request, one call for each; all of them are in the
    /// [`Report`](crate::Report) as well. It must be brief: what takes time belongs on a channel, with a
    /// hook of [`Phase::Closed`](crate::Phase::Closed) that waits for its other end. If it panics, the other listeners are still
    /// called, and the panic is logged and in [`Report::panics`](crate::Report::panics).
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

    /// Notes a connection that is closed, and why, if a shutdown is under way.
    pub(crate) fn note_closed(&self, cell: &Cell, reason: CutReason) {
        // After a shutdown nothing is left but a server that is dropped.
        if matches!(self.phase(), Phase::Serving | Phase::Closed) {
            return;
        }
        let closed = self.closed(cell, reason);
        log::closed(&closed);
        lock(&self.0.ledger.closed).push(closed);
    }

    pub(super) fn closed(&self, cell: &Cell, reason: CutReason) -> Cut {
        Cut {
            id: cell.id(),
            peer: cell.peer(),
            state: cell.state(),
            age: Duration::from_millis(self.now_ms().saturating_sub(cell.opened()).into()),
            requests: cell.begun(),
            unsent: cell.is_unsent(),
            reason,
        }
    }

    pub(crate) fn abandoned(&self, request: Abandoned, grpc: bool) {
        log::abandoned(&request, grpc);
        metrics::abandoned();
        // Called with the lock free: a listener may ask the tracker anything.
        let listeners = lock(&self.0.ledger.listeners).clone();
        for listener in &listeners {
            contained::call(self, "on_abandoned", || listener(&request));
        }
        lock(&self.0.ledger.abandoned).push(request);
    }
}

impl NotePanic for Tracker {
    /// One entry for each `what`, so that a callback that always panics takes no memory.
    fn note_panic(&self, what: &str, message: String) {
        log::panicked(what, &message);
        let mut panics = lock(&self.0.ledger.panics);
        match panics.iter_mut().find(|known| known.what == what) {
            Some(known) => known.times += 1,
            None => panics.push(Panicked {
                what: what.to_owned(),
                message,
                times: 1,
            }),
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}
