//! What the drain says to `tracing`, with feature `tracing`; nothing without.
//!
//! | event | level | fields | when |
//! |---|---|---|---|
//! | `phase` | INFO | `phase`, `connections`, `requests`, `left_ms` | a phase begins |
//! | `still open` | INFO | `connections`, `requests`, `left_ms`, `oldest` | every 5 s of a drain |
//! | `abandoned` | WARN | `method`, `path`, `peer`, `connection`, `age_ms`, `answer`, `saved`, `reason` | a request is cut |

use crate::{Abandoned, Phase, Tracker};

#[cfg(feature = "tracing")]
mod events {
    use super::*;

    /// How many of the oldest requests are named.
    const NAMED: usize = 5;

    pub(crate) fn phase(tracker: &Tracker, phase: Phase) {
        tracing::info!(target: "graceful_layer",
            phase = phase.as_str(),
            connections = tracker.counts().total(),
            requests = tracker.in_flight(),
            left_ms = left_ms(tracker),
            "phase"
        );
    }

    pub(crate) fn still_open(tracker: &Tracker) {
        let named = |request: &crate::RequestInfo| {
            let (method, path, age) = (&request.method, &request.path, request.age.as_millis());
            format!("{method} {path} from {} ({age} ms)", request.peer)
        };
        let oldest: Vec<_> = tracker.requests().iter().take(NAMED).map(named).collect();
        tracing::info!(target: "graceful_layer",
            connections = tracker.counts().total(),
            requests = tracker.in_flight(),
            left_ms = left_ms(tracker),
            oldest = oldest.join(", "),
            "still open"
        );
    }

    pub(crate) fn abandoned(request: &Abandoned) {
        tracing::warn!(target: "graceful_layer",
            method = %request.method,
            path = request.path,
            peer = %request.peer,
            connection = request.connection,
            age_ms = request.age.as_millis() as u64,
            answer = %request.answer,
            saved = request.saved,
            reason = request.reason.as_str(),
            "abandoned"
        );
    }

    /// Nothing while there is no deadline, or nothing left to wait for.
    fn left_ms(tracker: &Tracker) -> Option<u64> {
        let deadline = tracker
            .deadline()
            .filter(|_| tracker.phase() < Phase::Cutoff)?;
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        Some(left.as_millis() as u64)
    }
}

#[cfg(not(feature = "tracing"))]
mod events {
    use super::*;

    pub(crate) fn phase(_: &Tracker, _: Phase) {}
    pub(crate) fn still_open(_: &Tracker) {}
    pub(crate) fn abandoned(_: &Abandoned) {}
}

pub(crate) use events::{abandoned, phase, still_open};
