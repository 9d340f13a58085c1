//! The listeners for operators: served while everything else drains, counted by a tracker of their own (law 7).

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use graceful_layer::{Grace, Timeouts, Tracker};
use graceful_listener::HandoffListener;
use graceful_signal::ShutdownSignal;

use crate::{accept::Acceptor, endpoint::Endpoint, http::Http};

pub(crate) struct Aside {
    acceptor: Acceptor,
    tracker: Tracker,
    /// Another process accepts on the same listeners: a successor, or the predecessor beside this one.
    paused: bool,
}

impl Aside {
    pub(crate) fn new(endpoints: Vec<Endpoint>, http: &Http, timeouts: Timeouts) -> Self {
        let tracker = Tracker::silent();
        tracker.set_timeouts(timeouts);
        Self {
            acceptor: Acceptor::new(endpoints, tracker.clone(), http.clone()),
            tracker,
            paused: false,
        }
    }

    pub(crate) fn listeners(&self) -> Vec<Arc<HandoffListener>> {
        self.acceptor.listeners()
    }

    /// Keeps the time of the connections there. Resolves after [`end`](Self::end) has begun.
    pub(crate) fn watch(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let watched = self.tracker.drain_on(ShutdownSignal::never(), grace());
        async move { drop(watched.await) }
    }

    /// Accepts until everything else is over. Never ready.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.paused {
            true => Poll::Pending,
            false => self.acceptor.poll_accept(cx),
        }
    }

    pub(crate) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Closes the listeners, for a successor has taken them and has left on purpose.
    pub(crate) fn close(&mut self) {
        self.acceptor.close();
    }

    /// Takes what is in the queues and finishes what is open, in half a second or so.
    pub(crate) async fn end(&mut self, watched: Pin<&mut impl Future<Output = ()>>) {
        match self.paused {
            // Whoever is in the queues is the other process's to answer.
            true => self.acceptor.close(),
            false => _ = self.acceptor.seal(),
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
