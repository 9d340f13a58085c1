//! A complete answer, of either protocol.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// An answer read to its last byte.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// The process that answered (`x-pid`).
    pub pid: Option<u32>,
    /// The generation that answered (`x-generation`).
    pub generation: Option<u32>,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Self {
        let number = |name| headers.get(name)?.to_str().ok()?.parse().ok();
        Self {
            status,
            pid: number("x-pid"),
            generation: number("x-generation"),
            body,
        }
    }
}

/// No answer of the reference server is near it: a longer one is wrong, and memory stays bounded.
pub(super) const LONGEST_BODY: usize = 4 << 20;
