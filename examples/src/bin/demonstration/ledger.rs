//! The books: every request is entered once, when it ends.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use graceful_examples::load::{Closes, Outcome, Sample};

use crate::change::Change;
use crate::kind::Kind;
use crate::process::Exit;
use crate::tally::Tally;
use crate::timeline::Timeline;

/// Shared by all clients, the one who restarts, and those who look on.
#[derive(Debug)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
}

/// All that is known of a run.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    pub(crate) begun: Instant,
    pub(crate) tallies: BTreeMap<Kind, Tally>,
    pub(crate) timeline: Timeline,
    pub(crate) changes: Vec<Change>,
    /// The first losses, with what was seen.
    pub(crate) losses: Vec<LostRequest>,
}

/// A loss, for a person who looks for the cause.
#[derive(Clone, Debug)]
pub(crate) struct LostRequest {
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    pub(crate) detail: String,
}

/// What a client is to do after its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    GoOn,
    /// The server has stopped listening for good.
    Over,
}

impl Next {
    pub(crate) fn is_over(self) -> bool {
        self == Self::Over
    }
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let books = Books {
            begun: Instant::now(),
            tallies: Kind::ALL.map(|kind| (kind, Tally::default())).into(),
            timeline: Timeline::default(),
            changes: Vec::new(),
            losses: Vec::new(),
        };
        Self {
            books: Mutex::new(books),
        }
    }

    /// Enters a request that has just ended.
    pub(crate) fn enter(&self, kind: Kind, sample: Sample) -> Next {
        self.books().enter(kind, sample)
    }

    /// Enters what a client saw of its connections.
    pub(crate) fn enter_closes(&self, kind: Kind, closes: Closes) {
        self.books().tallies.entry(kind).or_default().closes += closes;
    }

    /// Opens a change, to be called before the signal is sent: what it causes comes after.
    pub(crate) fn begin(&self, from: u32, pid: i32, is_stop: bool) {
        let signalled = Instant::now();
        let change = Change {
            from,
            pid,
            is_stop,
            signalled,
            ready: None,
            ended: None,
            slowest: Duration::ZERO,
        };
        self.books().changes.push(change);
    }

    /// The successor serves.
    pub(crate) fn successor_ready(&self) {
        if let Some(change) = self.books().changes.last_mut() {
            change.ready = Some(Instant::now());
        }
    }

    /// The old process has ended.
    pub(crate) fn predecessor_ended(&self, exit: Exit) {
        if let Some(change) = self.books().changes.last_mut() {
            change.ended = Some((Instant::now(), exit));
        }
    }

    /// Looks at the books, which nobody can change meanwhile.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Books) -> T) -> T {
        look(&self.books())
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Whoever panicked with the books open, they hold plain counts, and the verdict falls for
        // the panic.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    pub(crate) fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.tallies.values().for_each(|tally| total.merge(tally));
        total
    }

    /// The time since the beginning.
    pub(crate) fn since(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.begun)
    }

    fn enter(&mut self, kind: Kind, sample: Sample) -> Next {
        let tally = self.tallies.entry(kind).or_default();
        if sample.outcome == Outcome::Refused && self.changes.iter().any(|change| change.is_stop) {
            tally.after_stop += 1;
            return Next::Over;
        }
        tally.enter(&sample);
        let at = (sample.started + sample.took).saturating_duration_since(self.begun);
        if sample.outcome.is_loss() {
            self.enter_loss(kind, at, sample);
        } else {
            self.timeline.answered(at, sample.generation);
            self.enter_slowest(kind, &sample);
        }
        Next::GoOn
    }

    fn enter_loss(&mut self, kind: Kind, at: Duration, sample: Sample) {
        self.timeline.lost(at);
        if self.losses.len() < MOST_LOSSES {
            let Sample {
                outcome,
                took,
                detail,
                ..
            } = sample;
            self.losses.push(LostRequest {
                at,
                kind,
                outcome,
                took,
                detail,
            });
        }
    }

    /// The changes do not overlap each other, so the ones under way during a request are the last
    /// ones.
    fn enter_slowest(&mut self, kind: Kind, sample: &Sample) {
        let changes = self.changes.iter_mut().rev();
        for change in changes.take_while(|change| change.overlaps(sample.started)) {
            if !kind.is_long() {
                change.slowest = change.slowest.max(sample.took);
            }
            let tally = self.tallies.entry(kind).or_default();
            tally.slowest_in_restart = tally.slowest_in_restart.max(sample.took);
        }
    }
}

const MOST_LOSSES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(outcome: Outcome, started: Instant, took: u64) -> Sample {
        let (detail, took) = (String::new(), Duration::from_millis(took));
        Sample {
            outcome,
            detail,
            generation: Some(0),
            started,
            took,
        }
    }

    #[test]
    fn every_request_is_entered_once() {
        let ledger = Ledger::new();
        for outcome in Outcome::ALL {
            let next = ledger.enter(Kind::Get, sample(outcome, Instant::now(), 1));
            assert_eq!(next, Next::GoOn, "{outcome:?}");
        }
        let total = ledger.read(Books::total);
        assert_eq!((total.requests(), total.lost()), (8, 7));
        assert!(
            Outcome::ALL
                .iter()
                .all(|&outcome| total.count(outcome) == 1)
        );
        assert_eq!(ledger.read(|books| books.losses.len()), 7);
    }

    #[test]
    fn a_refusal_is_a_loss_until_the_stop_and_none_after_it() {
        let ledger = Ledger::new();
        let refused = || sample(Outcome::Refused, Instant::now(), 1);
        assert_eq!(ledger.enter(Kind::Fresh, refused()), Next::GoOn);
        ledger.begin(0, 1, false);
        assert_eq!(ledger.enter(Kind::Fresh, refused()), Next::GoOn);
        ledger.begin(1, 2, true);
        assert_eq!(ledger.enter(Kind::Fresh, refused()), Next::Over);
        let total = ledger.read(Books::total);
        assert_eq!((total.lost(), total.after_stop), (2, 1));
    }

    #[test]
    fn whatever_else_goes_wrong_after_the_stop_is_a_loss() {
        let ledger = Ledger::new();
        ledger.begin(0, 1, true);
        for outcome in Outcome::ALL
            .into_iter()
            .filter(|&outcome| outcome != Outcome::Refused)
        {
            assert_eq!(
                ledger.enter(Kind::Get, sample(outcome, Instant::now(), 1)),
                Next::GoOn
            );
        }
        assert_eq!(ledger.read(Books::total).lost(), 6);
    }

    #[test]
    fn the_slowest_answer_of_a_change_was_under_way_during_it() {
        let ledger = Ledger::new();
        let begun = Instant::now();
        ledger.enter(Kind::Slow, sample(Outcome::Answered, begun, 900));
        ledger.begin(0, 1, false);
        ledger.enter(Kind::Get, sample(Outcome::Answered, begun, 30));
        ledger.enter(Kind::Stream, sample(Outcome::Answered, begun, 950));
        ledger.predecessor_ended(Exit::Status(0));
        ledger.enter(Kind::Post, sample(Outcome::Answered, begun, 40));
        let after = Instant::now() + Duration::from_secs(1);
        ledger.enter(Kind::Slow, sample(Outcome::Answered, after, 800));
        assert_eq!(
            ledger.read(|books| books.changes[0].slowest),
            Duration::from_millis(40)
        );
        let of = |kind| ledger.read(|books| books.tallies[&kind].slowest_in_restart.as_millis());
        assert_eq!(
            [Kind::Get, Kind::Post, Kind::Stream, Kind::Slow].map(of),
            [30, 40, 950, 0]
        );
    }
}
