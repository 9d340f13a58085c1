//! The policy of a stop: how long each phase may take.

use std::time::Duration;

/// How long each part of a stop may take.
///
/// One deadline covers everything: `lame_duck + drain`, counted from the signal, and `cutoff` after it.
/// Every phase ends early when there is nothing left to wait for, except lame duck, which waits for
/// clients that do not know of the stop yet (law 5). Zero means "not at all", never "for ever".
///
/// # Zero, for ever, and contradictions
/// No value is an error, and none makes a stop hang that is hurried by a further signal. What hardly can be meant
/// [`validate`](Self::validate) says.
///
/// | part | zero | longer than the deadline, up to [`Duration::MAX`] |
/// |---|---|---|
/// | `lame_duck` | is skipped | moves the deadline: lasts until the next signal or command, at the longest a year |
/// | `drain` | what is in flight at its beginning is cut at once | as `lame_duck` |
/// | `idle_grace` | idle connections are closed when first looked at, unless a request is on its way | they stay until their next request or the deadline, and their end is then no loss to report |
/// | `idle_spread` | idle connections are closed together | is never longer than a millisecond for each connection |
/// | `first_request_grace` | connections without a request, and half-sent heads, are dropped when first looked at | as `idle_grace`; half a head is cut at the deadline and named |
/// | `linger` | closed without reading on: a client that still sends may lose its response | at most 30 s; a peer that continues to send has five times the linger, and at most 30 s |
/// | `cutoff` | no time for savers and 503s; what is dropped has a tenth of a second to go | moves only the end of the stop, which is earlier if nothing is left |
///
/// ```
/// use std::time::Duration;
/// use graceful_layer::Grace;
///
/// let grace = Grace::default().with_lame_duck(Duration::from_secs(8));
/// assert_eq!(grace.total(), Duration::from_secs(8 + 25 + 2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grace {
    /// How long to accept and serve everything after the signal, for load balancers to look elsewhere.
    pub lame_duck: Duration,
    /// How long what is open may take to finish after that.
    pub drain: Duration,
    /// How long a kept-alive connection stays open for one more request, which is then told to be the last.
    pub idle_grace: Duration,
    /// Over how long the closing of idle connections is spread, at the most: one millisecond for each.
    pub idle_spread: Duration,
    /// How long a connection may take for its first request, and a half-sent head for its rest.
    pub first_request_grace: Duration,
    /// How long a connection that we closed is read from, so that no answer is lost to a reset.
    pub linger: Duration,
    /// How long the cut may take: half of it for savers and the answers that tell clients, the rest for what is dropped.
    pub cutoff: Duration,
}

impl Default for Grace {
    /// No lame duck, 25 s to drain: what fits a platform that kills after 30 s and sends no new clients.
    fn default() -> Self {
        Self {
            lame_duck: Duration::ZERO,
            drain: Duration::from_secs(25),
            idle_grace: Duration::from_secs(1),
            idle_spread: Duration::from_secs(2),
            first_request_grace: Duration::from_secs(5),
            linger: Duration::from_millis(500),
            cutoff: Duration::from_secs(2),
        }
    }
}

impl Grace {
    /// For a pod with `terminationGracePeriodSeconds` of `grace`: a lame duck of 8 s (a quarter of a shorter
    /// grace), so that every proxy hears of the removal, and a tenth kept back for what comes after.
    ///
    /// # References
    /// [Pod termination](https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination)
    pub fn kubernetes(grace: Duration) -> Self {
        let lame_duck = (grace / 4).min(Duration::from_secs(8));
        let cutoff = (grace / 15).min(Duration::from_secs(2));
        let drain = (grace - grace / 10).saturating_sub(lame_duck + cutoff);
        Self {
            lame_duck,
            drain,
            cutoff,
            ..Self::default()
        }
    }

    /// For a unit: no lame duck, 60 s to drain, well inside `TimeoutStopSec=`, which is 90 s by default.
    pub fn systemd() -> Self {
        Self {
            drain: Duration::from_secs(60),
            ..Self::default()
        }
    }

    /// For a hand-over on one machine: no lame duck, for the successor serves, and ten minutes to drain.
    pub fn takeover() -> Self {
        Self {
            drain: Duration::from_secs(600),
            ..Self::default()
        }
    }

    /// For Cloud Run, which kills after 10 s and sends the signal mostly to instances without traffic.
    pub fn cloud_run() -> Self {
        Self {
            drain: Duration::from_secs(7),
            ..Self::default()
        }
    }

    /// For a terminal: everything is over within about two seconds of Ctrl-C.
    pub fn dev() -> Self {
        Self {
            drain: Duration::from_secs(2),
            idle_grace: Duration::from_millis(200),
            idle_spread: Duration::from_millis(200),
            first_request_grace: Duration::from_secs(1),
            cutoff: Duration::from_millis(200),
            ..Self::default()
        }
    }

    /// Sets [`lame_duck`](Self::lame_duck).
    pub fn with_lame_duck(self, lame_duck: Duration) -> Self {
        Self { lame_duck, ..self }
    }

    /// Sets [`drain`](Self::drain).
    pub fn with_drain(self, drain: Duration) -> Self {
        Self { drain, ..self }
    }

    /// Sets [`idle_grace`](Self::idle_grace).
    pub fn with_idle_grace(self, idle_grace: Duration) -> Self {
        Self { idle_grace, ..self }
    }

    /// Sets [`idle_spread`](Self::idle_spread).
    pub fn with_idle_spread(self, idle_spread: Duration) -> Self {
        Self {
            idle_spread,
            ..self
        }
    }

    /// Sets [`first_request_grace`](Self::first_request_grace).
    pub fn with_first_request_grace(self, first_request_grace: Duration) -> Self {
        Self {
            first_request_grace,
            ..self
        }
    }

    /// Sets [`linger`](Self::linger).
    pub fn with_linger(self, linger: Duration) -> Self {
        Self { linger, ..self }
    }

    /// Sets [`cutoff`](Self::cutoff).
    pub fn with_cutoff(self, cutoff: Duration) -> Self {
        Self { cutoff, ..self }
    }

    /// The longest a stop can take, but for a tenth of a second for what is dropped, and for hooks of `Closed`.
    pub fn total(&self) -> Duration {
        self.lame_duck
            .saturating_add(self.drain)
            .saturating_add(self.cutoff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_leaves_room_before_the_kill() {
        for secs in [1, 5, 10, 30, 60, 600] {
            let grace = Duration::from_secs(secs);
            let total = Grace::kubernetes(grace).total();
            assert!(total <= grace * 9 / 10, "{total:?} of {grace:?}");
            assert!(total >= grace * 8 / 10, "{total:?} of {grace:?}");
        }
    }

    #[test]
    fn total_of_the_longest_durations_does_not_overflow() {
        let longest = Grace::default()
            .with_drain(Duration::MAX)
            .with_lame_duck(Duration::MAX);
        assert_eq!(longest.total(), Duration::MAX);
    }
}
