//! One `tracing` event per phase change, with feature `tracing`; nothing without.

use crate::{Phase, Tracker};

#[cfg(feature = "tracing")]
pub(crate) fn phase(tracker: &Tracker, phase: Phase) {
    let connections = tracker.counts().total();
    let requests = tracker.in_flight();
    let left = tracker
        .deadline()
        .map(|at| at.saturating_duration_since(tokio::time::Instant::now()));
    let left_ms = left.map_or(0, |left| left.as_millis() as u64);
    tracing::info!(target: "graceful_layer",
        phase = phase.as_str(),
        connections,
        requests,
        left_ms,
        "phase"
    );
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn phase(_: &Tracker, _: Phase) {}
