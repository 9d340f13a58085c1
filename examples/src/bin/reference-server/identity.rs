//! Who answers: the process and its generation, in every answer's head.

use std::fmt;

use axum::Router;
use axum::http::{HeaderName, HeaderValue};
use graceful_server::listener;
use tower_http::set_header::SetResponseHeaderLayer;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    pub(crate) generation: u32,
}

impl Identity {
    pub(crate) fn of_this_process() -> Self {
        Self {
            pid: std::process::id(),
            generation: listener::generation(),
        }
    }

    /// Puts `x-pid` and `x-generation` on all answers of `router`, the 404 and the 500 among them.
    pub(crate) fn sign(self, router: Router) -> Router {
        let header = |name, value| {
            SetResponseHeaderLayer::overriding(
                HeaderName::from_static(name),
                HeaderValue::from(value),
            )
        };
        router
            .layer(header("x-pid", self.pid))
            .layer(header("x-generation", self.generation))
    }
}

/// As on standard output and in the answer to `GET /`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid={} generation={}", self.pid, self.generation)
    }
}
