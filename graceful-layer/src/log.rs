//! What the drain says to `tracing`, with feature `tracing`; nothing without.
//!
//! | event | level | fields | when |
//! |---|---|---|---|
//! | `phase` | INFO | `phase`, `connections`, `requests`, `left_ms` | a phase begins |
//! | `waiting for …; deadline in …` | INFO | | every 5 s of a drain, and of a hook of `Closed` |
//! | `request aborted …` | WARN | `connection`, `saved` | a request is aborted |
//! | `connection closed …` | WARN, INFO if its peer used up its time | `connection` | a connection is closed before its client is done |
//! | `… panicked: …` | ERROR | | a hook, a saver, a callback or a make-service panics |
//! | `hook … did not end within …` | WARN | | a hook is dropped |

use std::{fmt, time::Duration};

use crate::{Abandoned, Cut, Phase, Tracker, state::Blocker};

/// A duration for people: `2 s`, `6.5 s`.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0.as_millis() + 50) / 100;
        match (tenths / 10, tenths % 10) {
            (whole, 0) => write!(f, "{whole} s"),
            (whole, part) => write!(f, "{whole}.{part} s"),
        }
    }
}

/// A text of the program, such as that of a panic, as a part of one line.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(feature = "tracing")]
mod events {
    use super::*;
    use crate::{Answer, ConnState, CutReason};

    pub(crate) fn phase(tracker: &Tracker, phase: Phase) {
        tracing::info!(target: "graceful_layer",
            phase = phase.as_str(),
            connections = tracker.counts().total(),
            requests = tracker.in_flight(),
            left_ms = left_ms(tracker),
            "phase"
        );
    }

    /// Nothing is logged that waits for nothing.
    pub(crate) fn still_open(waits: &[String], left: Option<Duration>) {
        let Some(waits) = listed(waits) else { return };
        let deadline = left.map_or_else(String::new, |left| {
            format!("; deadline in {}", Seconds(left))
        });
        tracing::info!(target: "graceful_layer", "waiting for {waits}{deadline}");
    }

    pub(crate) fn hook_overran(hook: &Blocker, bound: Duration) {
        let bound = Seconds(bound);
        tracing::warn!(target: "graceful_layer", "{hook} did not end within {bound}: it is dropped, and the shutdown continues");
    }

    pub(crate) fn panicked(what: &str, message: &str) {
        let message = one_line(message);
        tracing::error!(target: "graceful_layer", "{what} panicked: {message}; everything else continues");
    }

    pub(crate) fn abandoned(request: &Abandoned, grpc: bool) {
        let why = match request.reason {
            CutReason::Hurried => "by a further signal or a command",
            _ => "at the deadline",
        };
        let got = match request.answer {
            Answer::Refused if grpc => "the client got the gRPC status UNAVAILABLE",
            Answer::Refused => "the client got 503",
            Answer::None => "the client got no response",
            Answer::Truncated => "the client got a part of the response",
        };
        let Abandoned {
            method, path, peer, ..
        } = request;
        tracing::warn!(target: "graceful_layer",
            connection = request.connection,
            saved = request.saved,
            "request aborted {why}: {method} {path} from {peer}, running {}, {got}", Seconds(request.age)
        );
    }

    pub(crate) fn closed(connection: &Cut) {
        let Cut {
            state,
            peer,
            age,
            requests,
            ..
        } = connection;
        let what = match state {
            ConnState::Hijacked => "upgraded",
            ConnState::Handshaking => "in its TLS handshake",
            ConnState::New => "without a response",
            _ => "with an incomplete request or response",
        };
        let why = match connection.reason {
            CutReason::Deadline => "at the deadline",
            CutReason::Hurried => "by a further signal or a command",
            CutReason::NoService => "because its make-service did not resolve in time",
            CutReason::IncompleteHeader => "because its request header was not completed in time",
            CutReason::IncompleteHandshake => "because its TLS handshake was not completed in time",
            CutReason::StillSending => "because it continued to send after our end was closed",
            CutReason::NotReading => "because it did not read its GOAWAY for a second",
        };
        let id = connection.id;
        let line = format!(
            "{what}, from {peer}, open {}, {requests} requests",
            Seconds(*age)
        );
        match connection.reason.is_ours() {
            true => {
                tracing::warn!(target: "graceful_layer", connection = id, "connection closed {why}: {line}")
            }
            false => {
                tracing::info!(target: "graceful_layer", connection = id, "connection closed {why}: {line}")
            }
        }
    }

    /// `a`, `a and b`, `a, b and c`; nothing for none.
    fn listed(all: &[String]) -> Option<String> {
        let (last, others) = all.split_last()?;
        Some(match others {
            [] => last.clone(),
            others => format!("{} and {last}", others.join(", ")),
        })
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
    pub(crate) fn still_open(_: &[String], _: Option<Duration>) {}
    pub(crate) fn hook_overran(_: &Blocker, _: Duration) {}
    pub(crate) fn panicked(_: &str, _: &str) {}
    pub(crate) fn abandoned(_: &Abandoned, _: bool) {}
    pub(crate) fn closed(_: &Cut) {}
}

pub(crate) use events::{abandoned, closed, hook_overran, panicked, phase, still_open};
