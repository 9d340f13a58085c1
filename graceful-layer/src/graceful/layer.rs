//! `GracefulLayer`: complete by itself, on somebody else's server.

use std::sync::Arc;

use tower_layer::Layer;

use super::Graceful;
use crate::{Tracker, source::Loose};

/// Makes any HTTP service one that can be drained.
///
/// `GracefulLayer::new()` is complete by itself: it has a [`Tracker`] of its own, counts requests in flight up to the
/// last byte of their response. While it drains it adds `close` to the options that an HTTP/1 response has in `Connection` (RFC 9112
/// §9.6, RFC 9110 §7.6.1). The other options stay, except `keep-alive`, which contradicts `close`. A 101 and a 2xx to CONNECT get no
/// `close`, because the connection stays open as a tunnel (RFC 9110 §9.3.6).
///
/// While it drains it does not call the handler for a WebSocket handshake or any other upgrade, because the tunnel would be closed in a
/// moment: the client gets 503 with `Retry-After: 1`, over HTTP/1 with `Connection: close`, and
/// [`Tracker::sign_refusals`] adds its headers. The same holds for extended CONNECT over HTTP/2 (RFC 8441). Such a request is in
/// [`Report::requests`](crate::Report::requests) and not among those aborted. In lame duck both are accepted. An upgrade to h2c or TLS is ignored
/// (RFC 9110 §7.8): the request is served over HTTP/1.1.
///
/// If the next layer around this one has the same tracker, or the server is `graceful_server::serve` with the same tracker, the outer
/// one counts the request and this one passes it on. A layer with another tracker counts as well.
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
