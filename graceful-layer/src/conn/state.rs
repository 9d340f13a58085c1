//! What a connection is doing, in Go's words.

use std::fmt;

/// The state of a connection, as Go's `http.ConnState` defines it, plus `Handshaking`.
///
/// The state is derived from what the connection's pieces note, so how fine it is depends on which pieces
/// are in place: without the I/O wrapper a connection is `Active` only while a request is in flight.
///
/// # References
/// [Go, `net/http.ConnState`](https://pkg.go.dev/net/http#ConnState)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ConnState {
    /// In its TLS handshake.
    Handshaking = 0,
    /// Accepted, expected to send a request at once.
    New = 1,
    /// From the first byte of a request to the last byte of its answer; HTTP/2: while a stream is open.
    Active = 2,
    /// Between two requests.
    Idle = 3,
    /// Upgraded: the HTTP server gave its I/O away, to a WebSocket say.
    Hijacked = 4,
    /// Over.
    Closed = 5,
}

impl ConnState {
    /// The states of a connection that is alive, in the order of [`Counts`](crate::Counts).
    pub const LIVE: [Self; 5] = [
        Self::Handshaking,
        Self::New,
        Self::Active,
        Self::Idle,
        Self::Hijacked,
    ];

    /// The name for logs, metrics and status pages: `handshaking`, `new`, `active`, `idle`, `hijacked`, `closed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handshaking => "handshaking",
            Self::New => "new",
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Hijacked => "hijacked",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for ConnState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
