//! What the tracker says to the `metrics` facade, with feature `metrics`; nothing without.
//!
//! Published once a second by whoever runs the drain, from a scan: a request pays nothing for it.
//!
//! | name | kind | unit | is |
//! |---|---|---|---|
//! | `http.server.active_requests` | gauge | requests | in flight ([OpenTelemetry, HTTP metrics][otel]) |
//! | `graceful.connections` | gauge, by `state` | connections | open |
//! | `graceful.phase` | gauge | | 0 serving, 1 lame duck, 2 draining, 3 cutoff, 4 closed |
//! | `graceful.connections.total` | counter | connections | opened |
//! | `graceful.requests.total` | counter | requests | begun |
//! | `graceful.requests.failed` | counter | requests | ended without a whole answer, and not cut |
//! | `graceful.requests.abandoned` | counter | requests | cut |
//! | `graceful.drain.duration` | histogram | seconds | from the signal to the end |
//!
//! [otel]: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#metric-httpserveractive_requests

use crate::{Report, Tracker};

/// Milliseconds between two publications.
#[cfg(feature = "metrics")]
const PAUSE: u32 = 1000;

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    #[cfg(feature = "metrics")]
    next: u32,
}

#[cfg(feature = "metrics")]
impl Metrics {
    /// Publishes if it is time. `now` is on the tracker's clock.
    pub(crate) fn publish(&mut self, tracker: &Tracker, now: u32) {
        if now >= self.next {
            self.next = now.saturating_add(PAUSE);
            publish(tracker);
        }
    }

    /// The last word: the process may end before the next second does.
    pub(crate) fn finish(&self, tracker: &Tracker, report: &Report) {
        publish(tracker);
        let took = report.lame_duck + report.draining + report.cutoff;
        metrics::histogram!("graceful.drain.duration").record(took);
    }
}

#[cfg(feature = "metrics")]
fn publish(tracker: &Tracker) {
    use crate::ConnState;

    let (connections, requests) = tracker.totals();
    let counts = tracker.counts();
    metrics::gauge!("http.server.active_requests").set(tracker.in_flight() as f64);
    for state in ConnState::LIVE {
        metrics::gauge!("graceful.connections", "state" => state.as_str())
            .set(counts.of(state) as f64);
    }
    metrics::gauge!("graceful.phase").set(f64::from(tracker.phase() as u8));
    metrics::counter!("graceful.connections.total").absolute(connections);
    metrics::counter!("graceful.requests.total").absolute(requests);
    metrics::counter!("graceful.requests.failed").absolute(tracker.arena().failed());
}

/// A request is cut.
pub(crate) fn abandoned() {
    #[cfg(feature = "metrics")]
    metrics::counter!("graceful.requests.abandoned").increment(1);
}

#[cfg(not(feature = "metrics"))]
impl Metrics {
    pub(crate) fn publish(&mut self, _: &Tracker, _: u32) {}
    pub(crate) fn finish(&self, _: &Tracker, _: &Report) {}
}
