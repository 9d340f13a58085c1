//! `GracefulLayer`: complete by itself, on somebody else's server.

use std::sync::Arc;

use tower_layer::Layer;

use super::Graceful;
use crate::{Tracker, source::Loose};

/// Makes any HTTP service one that can be drained.
///
/// `GracefulLayer::new()` is complete by itself: it has a [`Tracker`] of its own, counts requests in flight up to the
/// last byte of their answer, and says `Connection: close` on HTTP/1 answers while it drains (RFC 9112 §9.6).
///
/// What it cannot reach under a server that is not ours: connections. Idle ones, a half-sent head, the accept queue
/// are that server's; give it [`Tracker::told`] for its own shutdown, so that its clients have been told first.
/// Under `graceful_server::serve` this layer is not needed: every connection there has its service wrapped already.
///
/// The [crate's front page](crate) has it under `axum::serve`.
#[derive(Clone, Debug)]
pub struct GracefulLayer {
    loose: Arc<Loose>,
}

impl GracefulLayer {
    /// A layer with a tracker of its own.
    pub fn new() -> Self {
        Self::with_tracker(Tracker::new())
    }

    /// A layer that feeds `tracker`, together with others perhaps.
    pub fn with_tracker(tracker: Tracker) -> Self {
        let loose = Loose::new(tracker);
        Self { loose }
    }

    /// What it counts, and what drains it.
    pub fn tracker(&self) -> &Tracker {
        self.loose.tracker()
    }
}

impl Default for GracefulLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for GracefulLayer {
    type Service = Graceful<S>;

    fn layer(&self, inner: S) -> Graceful<S> {
        Graceful::loose(inner, self.loose.clone())
    }
}
