//! The listeners for operators: served while everything else drains, counted by a tracker of their own (law 7).

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use graceful_layer::{Grace, Timeouts, Tracker};
use graceful_listener::HandoffListener;
use graceful_signal::ShutdownSignal;

use crate::{accept::Acceptor, endpoint::Endpoint, http::Http};

pub(crate) struct Aside {
    acceptor: Acceptor,
    tracker: Tracker,
    /// No time is kept where there are no listeners.
    used: bool,
}

impl Aside {
    pub(crate) fn new(endpoints: Vec<Endpoint>, http: &Http, timeouts: Timeouts) -> Self {
        let (tracker, used) = (Tracker::silent(), !endpoints.is_empty());
        tracker.set_timeouts(timeouts);
        Self {
            acceptor: Acceptor::new(endpoints, tracker.clone(), http.clone()),
            tracker,
            used,
        }
    }

    pub(crate) fn listeners(&self) -> Vec<Arc<HandoffListener>> {
        self.acceptor.listeners()
    }

    /// Keeps the time of the connections there. Resolves after [`end`](Self::end) has begun; never
    /// if there are no listeners.
    pub(crate) fn watch(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let keep = || self.tracker.drain_on(ShutdownSignal::never(), grace());
        let watched = self.used.then(keep);
        async move {
            match watched {
                Some(watched) => drop(watched.await),
                None => pending().await,
            }
        }
    }

    /// Whether this process accepts there, or another one: a successor, or the predecessor beside this one.
    pub(crate) fn turn(&self, on: bool) {
        self.acceptor.turn(on);
    }

    /// Closes the listeners, for a successor has taken them and has left on purpose.
    pub(crate) fn close(&mut self) {
        self.acceptor.close();
    }

    /// Takes what is in the queues and finishes what is open, in half a second or so.
    pub(crate) async fn end(&mut self, watched: Pin<&mut impl Future<Output = ()>>) {
        if !self.used {
            return;
        }
        match self.acceptor.is_on() {
            true => _ = self.acceptor.seal(),
            // Whoever is in the queues is the other process's to answer.
            false => self.acceptor.close(),
        }
        self.tracker.begin();
        watched.await;
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.tracker.abort();
    }
}

/// Whoever asks here comes again: an idle connection may be closed at once.
fn grace() -> Grace {
    Grace::default()
        .with_drain(Duration::from_millis(500))
        .with_idle_grace(Duration::ZERO)
        .with_idle_spread(Duration::ZERO)
        .with_first_request_grace(Duration::from_millis(100))
        .with_linger(Duration::from_millis(100))
        .with_cutoff(Duration::from_millis(100))
}
