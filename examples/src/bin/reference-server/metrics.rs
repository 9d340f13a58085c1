//! The tracker's counts in Prometheus' text format.
//!
//! References: <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::{Display, Write};

use graceful_server::{ConnState, Phase};

use crate::status::Status;

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn text(status: &Status) -> String {
    let tracker = status.tracker();
    let (phase, counts) = (tracker.phase(), tracker.counts());
    let (connections, requests) = tracker.totals();
    let mut page = Page::default();

    page.family(
        "graceful_phase",
        "gauge",
        "1 for the phase the server is in.",
    );
    for known in Phase::ALL {
        page.sample("graceful_phase", ("phase", known), u8::from(known == phase));
    }
    page.family(
        "graceful_connections_active",
        "gauge",
        "Open connections by state.",
    );
    for state in ConnState::LIVE {
        page.sample(
            "graceful_connections_active",
            ("state", state),
            counts.of(state),
        );
    }
    page.single(
        "graceful_phase_seconds",
        "gauge",
        "Time in this phase.",
        status.in_phase().as_secs_f64(),
    );
    page.single(
        "graceful_requests_active",
        "gauge",
        "Requests in flight.",
        tracker.in_flight(),
    );
    page.single(
        "graceful_connections_total",
        "counter",
        "Connections accepted.",
        connections,
    );
    page.single(
        "graceful_requests_total",
        "counter",
        "Requests begun.",
        requests,
    );
    page.single(
        "graceful_generation",
        "gauge",
        "Hand-overs that led to this process.",
        status.identity().generation,
    );
    page.single(
        "graceful_uptime_seconds",
        "gauge",
        "Time since the start.",
        status.uptime().as_secs_f64(),
    );
    if let Some(left) = status.time_left() {
        page.single(
            "graceful_deadline_seconds",
            "gauge",
            "Time until what is left is cut.",
            left.as_secs_f64(),
        );
    }
    page.0
}

/// Writing into a `String` cannot fail.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, (label, is): (&str, impl Display), value: impl Display) {
        let _ = writeln!(self.0, "{name}{{{label}=\"{is}\"}} {value}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }
}

#[cfg(test)]
mod tests {
    use graceful_server::Tracker;

    use super::*;
    use crate::identity::Identity;

    #[test]
    fn every_sample_belongs_to_a_family_and_every_family_is_described_once() {
        let status = Status::new(
            Tracker::new(),
            Identity {
                pid: 7,
                generation: 3,
            },
        );
        let _open = status.tracker().open(graceful_server::Peer::Unix);
        let text = text(&status);
        let mut families = Vec::new();
        for line in text.lines() {
            match line.strip_prefix("# HELP ") {
                Some(help) => families.push(help.split(' ').next().unwrap()),
                None if line.starts_with("# TYPE ") => {
                    assert!(line.contains(families.last().unwrap()))
                }
                None => assert_eq!(line.split(['{', ' ']).next(), families.last().copied()),
            }
        }
        let named = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), named);
        for sample in [
            "graceful_phase{phase=\"serving\"} 1",
            "graceful_phase{phase=\"draining\"} 0",
            "graceful_connections_active{state=\"new\"} 1",
            "graceful_generation 3",
        ] {
            assert!(
                text.lines().any(|line| line == sample),
                "{sample} is not in\n{text}"
            );
        }
    }
}
