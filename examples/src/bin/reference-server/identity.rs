//! Who answers: the process and its generation, in every answer's head.

use std::fmt;

use axum::Router;
use axum::http::{HeaderName, HeaderValue};
use graceful_server::{Tracker, listener};
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
        let sign = |router: Router, (name, value)| {
            router.layer(SetResponseHeaderLayer::overriding(name, value))
        };
        self.headers().into_iter().fold(router, sign)
    }

    /// And on those that the cutoff gives in its place.
    pub(crate) fn sign_refusals(self, tracker: &Tracker) {
        tracker.sign_refusals(move |answer| answer.headers.extend(self.headers()));
    }

    fn headers(self) -> [(HeaderName, HeaderValue); 2] {
        [
            (HeaderName::from_static("x-pid"), self.pid.into()),
            (
                HeaderName::from_static("x-generation"),
                self.generation.into(),
            ),
        ]
    }
}

/// As on standard output and in the answer to `GET /`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid={} generation={}", self.pid, self.generation)
    }
}
