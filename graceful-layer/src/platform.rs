//! Whether the phases of a stop fit the platform that ends the process and the load balancer that stops sending to it.

use std::{fmt, time::Duration};

use crate::Grace;

/// What surrounds a service when it stops: who kills it when, and how long traffic goes on coming.
///
/// ```
/// use std::time::Duration;
/// use graceful_layer::{Grace, Platform};
///
/// let secs = Duration::from_secs;
/// // terminationGracePeriodSeconds: 30, and a load balancer that probes every 10 s and gives up after 3 failures.
/// let platform = Platform::killing_after(secs(30)).probed(secs(10), 3, secs(2));
/// for warning in Grace::kubernetes(secs(30)).validate(&platform) {
///     eprintln!("{warning}"); // the lame duck of 7.5 s ends before …
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    kill_after: Duration,
    removal: Duration,
}

impl Platform {
    /// One that kills the process so long after the signal: `terminationGracePeriodSeconds`, `TimeoutStopSec=`.
    pub fn killing_after(kill_after: Duration) -> Self {
        Self {
            kill_after,
            removal: Duration::ZERO,
        }
    }

    /// Requests go on coming for so long after readiness failed: endpoints are propagated, caches expire.
    pub fn removing_after(self, removal: Duration) -> Self {
        let removal = removal.max(self.removal);
        Self { removal, ..self }
    }

    /// A load balancer probes every `interval`, waits `timeout` for each answer, and removes after `failures` in a row. The
    /// last probe that passes may have been answered just before the signal.
    pub fn probed(self, interval: Duration, failures: u32, timeout: Duration) -> Self {
        let removal = interval.saturating_mul(failures).saturating_add(timeout);
        self.removing_after(removal)
    }

    /// How long requests may go on coming.
    pub fn removal(&self) -> Duration {
        self.removal
    }
}

/// A duration that does not fit another one. Its `Display` says which, and what comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misfit {
    /// The platform kills before the stop is over.
    KilledBeforeTheEnd {
        /// How long the stop may take.
        total: Duration,
        /// How long it has.
        kill_after: Duration,
    },
    /// The lame duck ends while the load balancer still sends requests: they find the listener closed.
    LameDuckTooShort {
        /// How long it is.
        lame_duck: Duration,
        /// How long requests may go on coming.
        removal: Duration,
    },
    /// There is no time for what is in flight.
    NoTimeToDrain,
    /// The drain ends before idle connections were asked to go: their next requests are cut.
    IdleGraceTooLong {
        /// How long idle connections stay, with their spread.
        idle: Duration,
        /// How long the drain is.
        drain: Duration,
    },
    /// The drain ends before a connection has had its time for a first request.
    FirstRequestGraceTooLong {
        /// That time.
        first_request: Duration,
        /// How long the drain is.
        drain: Duration,
    },
}

impl Grace {
    /// What does not fit: the platform, the load balancer, or one another. Nothing is refused for it: every combination of
    /// durations has a meaning, and a stop is over after [`total`](Self::total) whatever they are.
    #[must_use]
    pub fn validate(&self, platform: &Platform) -> Vec<Misfit> {
        let (drain, total) = (self.drain, self.total());
        let idle = self.idle_grace.saturating_add(self.idle_spread);
        let rules = [
            (
                total > platform.kill_after,
                Misfit::KilledBeforeTheEnd {
                    total,
                    kill_after: platform.kill_after,
                },
            ),
            (
                self.lame_duck < platform.removal,
                Misfit::LameDuckTooShort {
                    lame_duck: self.lame_duck,
                    removal: platform.removal,
                },
            ),
            (drain.is_zero(), Misfit::NoTimeToDrain),
            (
                !drain.is_zero() && idle > drain,
                Misfit::IdleGraceTooLong { idle, drain },
            ),
            (
                !drain.is_zero() && self.first_request_grace > drain,
                Misfit::FirstRequestGraceTooLong {
                    first_request: self.first_request_grace,
                    drain,
                },
            ),
        ];
        let misfits = rules.into_iter().filter(|(misfit, _)| *misfit);
        misfits.map(|(_, which)| which).collect()
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KilledBeforeTheEnd { total, kill_after } => write!(
                f,
                "a stop may take {total:?}, but the platform kills after {kill_after:?}: shorten lame_duck or drain"
            ),
            Self::LameDuckTooShort { lame_duck, removal } => write!(
                f,
                "the lame duck of {lame_duck:?} ends before the load balancer looks elsewhere, after {removal:?}: lengthen it"
            ),
            Self::NoTimeToDrain => f.write_str("drain is zero: whatever is in flight is cut"),
            Self::IdleGraceTooLong { idle, drain } => write!(
                f,
                "the drain of {drain:?} ends before idle connections have gone, after {idle:?}: shorten idle_grace or idle_spread"
            ),
            Self::FirstRequestGraceTooLong {
                first_request,
                drain,
            } => write!(
                f,
                "the drain of {drain:?} ends before first requests had their {first_request:?}: shorten first_request_grace"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn every_profile_fits_its_platform() {
        let fits = |grace: Grace, kill_after| {
            let misfits = grace.validate(&Platform::killing_after(kill_after));
            assert_eq!(misfits, [], "{grace:?}");
        };
        fits(Grace::default(), secs(30));
        fits(Grace::systemd(), secs(90));
        fits(Grace::cloud_run(), secs(10));
        fits(Grace::dev(), secs(3));
        for grace in [30, 60, 600] {
            fits(Grace::kubernetes(secs(grace)), secs(grace));
        }
    }

    #[test]
    fn removal_is_the_longest_of_what_is_known() {
        let platform = Platform::killing_after(secs(30)).probed(secs(10), 3, secs(2));
        assert_eq!(platform.removal(), secs(32));
        assert_eq!(platform.removing_after(secs(5)).removal(), secs(32));
        assert_eq!(platform.removing_after(secs(40)).removal(), secs(40));
    }

    #[test]
    fn each_misfit_is_found_and_says_what_to_do() {
        let platform = Platform::killing_after(secs(20)).removing_after(secs(5));
        let misfits = Grace::default().validate(&platform);
        assert!(
            matches!(
                misfits[..],
                [
                    Misfit::KilledBeforeTheEnd { .. },
                    Misfit::LameDuckTooShort { .. }
                ]
            ),
            "{misfits:?}"
        );
        let short = Grace::default().with_drain(secs(2));
        let misfits = short.validate(&Platform::killing_after(Duration::MAX));
        assert!(
            matches!(
                misfits[..],
                [
                    Misfit::IdleGraceTooLong { .. },
                    Misfit::FirstRequestGraceTooLong { .. }
                ]
            ),
            "{misfits:?}"
        );
        assert!(misfits[0].to_string().contains("shorten idle_grace"));
        let none = short.with_drain(Duration::ZERO);
        assert_eq!(
            none.validate(&Platform::killing_after(Duration::MAX)),
            [Misfit::NoTimeToDrain]
        );
    }

    #[test]
    fn the_longest_durations_do_not_overflow() {
        let grace = Grace::default()
            .with_lame_duck(Duration::MAX)
            .with_drain(Duration::MAX)
            .with_idle_grace(Duration::MAX);
        let platform =
            Platform::killing_after(Duration::MAX).probed(Duration::MAX, u32::MAX, Duration::MAX);
        assert_eq!(grace.validate(&platform), []);
    }
}
