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
    /// From the first byte of the request headers to their last byte. Under `graceful-server` it applies as well to headers whose
    /// first bytes arrive with or during the request before them: from the response to that request. With other servers these bytes
    /// are not seen.
    pub head: Duration,
    /// Between two requests. Longer than any load balancer keeps its end, or requests are lost.
    pub idle: Duration,
    /// Between two requests, until an HTTP/1 connection of `graceful-server` is parked, a tenth of a second more or less: its HTTP
    /// server is released, with some 10 kB of buffers, and created again at the next byte. Its client notices nothing. A connection
    /// on which the client requested an upgrade, even in vain, is not parked. A connection whose last request's body is still read is
    /// parked after that.
    ///
    /// With [`Duration::MAX`] a connection is parked after [`head`](Self::head), because only then it shows whether the server had
    /// read the beginning of a next request together with the last request.
    ///
    /// hyper's own `header_read_timeout`, if you set it, does not apply between two requests then: [`idle`](Self::idle) does.
    pub park_after: Duration,
}

impl Default for Timeouts {
    /// 10 s for a handshake; 30 s for the first byte and for a head; 620 s idle, for load balancers keep their end for up to 600 s;
    /// half a second until it is parked.
    ///
    /// # References
    /// [Google Cloud: backend keep-alive timeout](https://cloud.google.com/load-balancing/docs/https#timeout-keepalive-backends)
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(30),
            head: Duration::from_secs(30),
            idle: Duration::from_secs(620),
            park_after: Duration::from_millis(500),
        }
    }
}

impl Timeouts {
    /// No timeout applies to a connection, and no connection is parked.
    pub fn off() -> Self {
        Self {
            handshake: Duration::MAX,
            first_request: Duration::MAX,
            head: Duration::MAX,
            idle: Duration::MAX,
            park_after: Duration::MAX,
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

    /// Sets [`park_after`](Self::park_after).
    pub fn with_park_after(self, park_after: Duration) -> Self {
        Self { park_after, ..self }
    }
}
