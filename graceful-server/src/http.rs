//! What is spoken on a connection, and how hyper is set up for it.

use std::io;

use crate::{
    connection::detach::can_probe,
    leave::Exit,
    settings::{Http1Settings, Http2Settings},
};

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

/// What all connections share: hyper's settings, as the user left them, and the way to the successor.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) protocol: Protocol,
    pub(crate) http1: Http1Settings,
    pub(crate) http2: Http2Settings,
    /// None if connections do not move.
    pub(crate) exit: Option<Exit>,
    /// Whether connections are detached from hyper.
    pub(crate) can_probe: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            protocol: Protocol::Auto,
            http1: Http1Settings::new(),
            http2: Http2Settings::new(),
            exit: None,
            can_probe: can_probe(),
        }
    }
}

impl Http {
    pub(crate) fn check(&self) -> io::Result<()> {
        self.http1.check()?;
        self.http2.check()
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
