//! The line that `systemctl status` shows.

use std::{error::Error, fmt::Write};

use graceful_layer::{Phase, Tracker};
use graceful_listener::generation;
use tokio::time::Instant;

/// What goes on, with a note if there is one.
pub(super) fn event(tracker: &Tracker, restarting: bool, note: Option<&str>) -> String {
    let phase = tracker.phase();
    let what = match phase {
        Phase::Serving if restarting => "restarting",
        Phase::LameDuck => "lame duck",
        phase => phase.as_str(),
    };
    let note = note.filter(|_| phase == Phase::Serving).unwrap_or_default();
    let comma = if note.is_empty() { "" } else { ", " };
    format!("{what}, generation {}{comma}{note}", generation())
}

/// How much of it there is, and the time left.
pub(super) fn counts(tracker: &Tracker, now: Instant) -> String {
    let (connections, requests) = (tracker.counts().total(), tracker.in_flight());
    let mut text = format!("{connections} connections, {requests} requests in flight");
    if let Some(deadline) = tracker.deadline() {
        let left = deadline.saturating_duration_since(now).as_secs_f64();
        // Writing to a string does not fail.
        let _ = write!(text, ", {left:.0} s left");
    }
    text
}

/// An error with its causes, in one line.
pub(super) fn with_causes(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_causes(cause)),
        None => error.to_string(),
    }
}
