//! What is spoken on a connection, and how hyper is set up for it.

use graceful_layer::conn::StreamExecutor;
use hyper::server::conn::{http1, http2};

use crate::leave::Exit;

/// What is spoken on connections: by their first bytes or, with TLS, by what was agreed on in the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1 and HTTP/2 with prior knowledge, told apart by the first bytes.
    #[default]
    Auto,
    /// HTTP/1 only.
    Http1,
    /// HTTP/2 only, with prior knowledge.
    Http2,
}

/// What a client sends first on HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Protocol {
    /// What a connection speaks whose first bytes are `ahead`; `None` if more are needed to know.
    pub(crate) fn detect(self, ahead: &[u8], ended: bool) -> Option<Self> {
        match self {
            Self::Auto if ahead.starts_with(PREFACE) => Some(Self::Http2),
            Self::Auto if PREFACE.starts_with(ahead) && !ended => None,
            Self::Auto => Some(Self::Http1),
            fixed => Some(fixed),
        }
    }
}

/// What all connections share: hyper's builders, as the user left them, and the way to the successor.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) protocol: Protocol,
    pub(crate) http1: http1::Builder,
    pub(crate) http2: http2::Builder<StreamExecutor>,
    /// None if connections do not move.
    pub(crate) exit: Option<Exit>,
}

impl Default for Http {
    fn default() -> Self {
        let mut http1 = http1::Builder::new();
        // The tracker bounds heads, idle and silent connections, in one walk for all of them.
        http1.header_read_timeout(None);
        let mut http2 = http2::Builder::new(StreamExecutor);
        http2.enable_connect_protocol();
        Self {
            protocol: Protocol::Auto,
            http1,
            http2,
            exit: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_the_preface_waits_for_more() {
        for n in 0..PREFACE.len() {
            assert_eq!(
                Protocol::Auto.detect(&PREFACE[..n], false),
                None,
                "{n} bytes"
            );
            assert_eq!(
                Protocol::Auto.detect(&PREFACE[..n], true),
                Some(Protocol::Http1)
            );
        }
        assert_eq!(Protocol::Auto.detect(PREFACE, false), Some(Protocol::Http2));
    }

    #[test]
    fn what_only_begins_like_the_preface_is_http1() {
        for head in ["POST / HTTP/1.1", "PRI * HTTP/1.1", "GET", "PRIX", "\r\n"] {
            assert_eq!(
                Protocol::Auto.detect(head.as_bytes(), false),
                Some(Protocol::Http1)
            );
        }
    }
}
