//! The books of one kind of traffic.

use std::time::Duration;

use graceful_examples::load::{Closes, Outcome, Sample};

use crate::times::Times;

/// Counts by outcome, and the times of what was answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    outcomes: [u64; Outcome::ALL.len()],
    /// Turned away by a closed door after the stop, which is no loss and no request.
    pub(crate) after_stop: u64,
    pub(crate) closes: Closes,
    pub(crate) times: Times,
    pub(crate) slowest_in_restart: Duration,
}

impl Tally {
    pub(crate) fn enter(&mut self, sample: &Sample) {
        self.outcomes[sample.outcome as usize] += 1;
        if sample.outcome == Outcome::Answered {
            self.times.enter(sample.took);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.outcomes.iter_mut().zip(other.outcomes) {
            *count += more;
        }
        self.after_stop += other.after_stop;
        self.closes += other.closes;
        self.times.merge(&other.times);
        self.slowest_in_restart = self.slowest_in_restart.max(other.slowest_in_restart);
    }

    pub(crate) fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    pub(crate) fn requests(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.requests() - self.count(Outcome::Answered)
    }
}
