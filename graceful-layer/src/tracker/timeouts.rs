//! How long connections may take in normal service.

use std::time::Duration;

/// How long a connection may take, in normal service. Checked ten times a second by the drain that waits, in one walk
/// for all connections: no connection pays for a timer.
///
/// An idle connection is closed only when nothing has arrived on it, and is read from for a moment after that (law 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From accept to the end of the TLS handshake.
    pub handshake: Duration,
    /// From accept, or the end of the TLS handshake, to the first byte.
    pub first_request: Duration,
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// Between two requests. Longer than any load balancer keeps its end, or requests are lost.
    pub idle: Duration,
    /// Between two requests, until an HTTP/1 connection of `graceful-server` rests, a tenth of a second more or less: its HTTP
    /// server is let go, with some 10 kB of buffers, and set up again at the next byte. Its client notices nothing. One whose last
    /// request was neither GET nor HEAD does not rest, nor one that has asked for an upgrade, even in vain.
    ///
    /// hyper's own `header_read_timeout`, if you set it, is no limit between two requests then: that is [`idle`](Self::idle).
    pub rest: Duration,
}

impl Default for Timeouts {
    /// 10 s for a handshake; 30 s for the first byte and for a head; 620 s idle, for load balancers keep their end for up to 600 s;
    /// half a second until it rests.
    ///
    /// # References
    /// [Google Cloud: backend keep-alive timeout](https://cloud.google.com/load-balancing/docs/https#timeout-keepalive-backends)
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(30),
            head: Duration::from_secs(30),
            idle: Duration::from_secs(620),
            rest: Duration::from_millis(500),
        }
    }
}

impl Timeouts {
    /// Connections may take for ever, and never rest.
    pub fn off() -> Self {
        Self {
            handshake: Duration::MAX,
            first_request: Duration::MAX,
            head: Duration::MAX,
            idle: Duration::MAX,
            rest: Duration::MAX,
        }
    }

    /// Sets [`handshake`](Self::handshake).
    pub fn with_handshake(self, handshake: Duration) -> Self {
        Self { handshake, ..self }
    }

    /// Sets [`first_request`](Self::first_request).
    pub fn with_first_request(self, first_request: Duration) -> Self {
        Self {
            first_request,
            ..self
        }
    }

    /// Sets [`head`](Self::head).
    pub fn with_head(self, head: Duration) -> Self {
        Self { head, ..self }
    }

    /// Sets [`idle`](Self::idle).
    pub fn with_idle(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }

    /// Sets [`rest`](Self::rest).
    pub fn with_rest(self, rest: Duration) -> Self {
        Self { rest, ..self }
    }
}
