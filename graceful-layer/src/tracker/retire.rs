//! Decides which connection gets `Connection: close` or GOAWAY at which moment of a lame duck.
//!
//! Each connection has its turn. The turns are spread evenly over the time that was left of the lame duck when the connection
//! was opened. So the pool of a load balancer that replaces each notified connection opens a few, and not one for every request.

use super::sweep::{age, millis, scatter};
use crate::{Grace, state::Cell};

/// The rules of one lame duck. Durations in milliseconds of the tracker's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retire {
    began: u32,
    /// How long the lame duck lasts.
    total: u32,
    first_request: u32,
}

impl Retire {
    pub(super) fn new(grace: &Grace, began: u32) -> Self {
        Self {
            began,
            total: millis(grace.lame_duck).max(1),
            first_request: millis(grace.first_request_grace),
        }
    }

    /// The share that is over, in 255ths: the probability of `close` where no connection is known.
    pub(super) fn ramp(&self, now: u32) -> u8 {
        let elapsed = u64::from(age(now, self.began).min(self.total));
        (elapsed * 255 / u64::from(self.total)) as u8
    }

    /// Whether it is `cell`'s turn at `now`. A connection without a request first has the time for a request: it may turn
    /// out to be HTTP/2, and its client may wait for our SETTINGS.
    pub(super) fn is_due(&self, cell: &Cell, now: u32) -> bool {
        if cell.begun() == 0 && age(now, cell.since()) < self.first_request {
            return false;
        }
        let elapsed = age(now, self.began).min(self.total);
        let there = age(now, cell.opened()).min(elapsed);
        let span = self.total - (elapsed - there);
        u64::from(there) * 256 > u64::from(span) * u64::from(scatter(cell.id()) as u8)
    }
}

#[cfg(all(test, not(graceful_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Peer, Tracker, state::Part};

    const LAME_DUCK: u32 = 2000;

    fn rules(first_request: u64) -> Retire {
        let grace = Grace::default()
            .with_lame_duck(Duration::from_millis(LAME_DUCK.into()))
            .with_first_request_grace(Duration::from_millis(first_request));
        Retire::new(&grace, 0)
    }

    fn open(tracker: &Tracker, now: u32) -> Part {
        tracker.arena().set_tick(now);
        tracker.arena().open(Peer::Unix)
    }

    #[test]
    fn connections_have_their_turns_evenly_from_the_beginning_to_the_end() {
        let (tracker, rules) = (Tracker::new(), rules(0));
        let parts: Vec<_> = (0..1000).map(|_| open(&tracker, 0)).collect();
        let due = |now| {
            let due = |part: &&Part| rules.is_due(part.cell(), now);
            parts.iter().filter(due).count()
        };
        assert_eq!((due(0), due(LAME_DUCK)), (0, 1000));
        for quarter in 1..4 {
            let share = due(quarter * LAME_DUCK / 4) as u32;
            assert!(share.abs_diff(quarter * 250) < 25, "{quarter}: {share}");
        }
    }

    /// A pool of one connection that is looked at 10 times a second and replaced whenever its turn came.
    #[test]
    fn a_connection_that_is_replaced_whenever_it_is_due_is_replaced_a_few_times() {
        let (tracker, rules) = (Tracker::new(), rules(0));
        let mut replaced = Vec::new();
        for _ in 0..100 {
            let (mut part, mut times) = (open(&tracker, 0), 0);
            for now in (0..LAME_DUCK).step_by(100) {
                if rules.is_due(part.cell(), now) {
                    part = open(&tracker, now);
                    times += 1;
                }
            }
            replaced.push(times);
        }
        let sum: u32 = replaced.iter().sum();
        assert!(*replaced.iter().max().unwrap() <= 12, "{replaced:?}");
        assert!((100..600).contains(&sum), "1 to 6 each: {replaced:?}");
    }

    #[test]
    fn a_connection_has_time_for_its_first_request_before_its_turn() {
        let (tracker, rules) = (Tracker::new(), rules(1500));
        let parts: Vec<_> = (0..100).map(|_| open(&tracker, 0)).collect();
        let due = |now| parts.iter().any(|part| rules.is_due(part.cell(), now));
        assert!(!due(1499) && due(1500));
        parts.iter().for_each(|part| {
            part.cell().count_in();
            part.cell().count_out();
        });
        assert!(due(500), "with a request it needs no more time");
    }
}
