//! What comes of a run: the books, the plan they are held against, and the verdict.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use graceful_examples::load::Outcome;

use crate::args::Args;
use crate::change::Change;
use crate::failure::Failure;
use crate::ledger::Books;
use crate::tally::Tally;
use crate::text::grouped;
use crate::timeline;

/// A finished run, or one that was ended before its time.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) books: Books,
    pub(crate) total: Tally,
    pub(crate) restarts: u32,
    pub(crate) rate: u32,
    pub(crate) took: Duration,
    /// Why it did not come to its end.
    pub(crate) failure: Option<Failure>,
}

impl Report {
    pub(crate) fn new(args: &Args, books: Books, result: Result<(), Failure>) -> Self {
        let (total, took) = (books.total(), books.since(Instant::now()));
        let (restarts, rate, failure) = (args.restarts, args.rate, result.err());
        Self {
            books,
            total,
            restarts,
            rate,
            took,
            failure,
        }
    }

    /// Whether nothing at all is to be held against the server.
    pub(crate) fn is_success(&self) -> bool {
        self.faults().is_empty()
    }

    /// One line.
    pub(crate) fn verdict(&self) -> String {
        let requests = grouped(self.total.requests());
        let faults = self.faults();
        if faults.is_empty() {
            let restarts = if self.restarts == 1 {
                "restart"
            } else {
                "restarts"
            };
            let count = self.restarts;
            return format!("0 lost of {requests} requests over {count} {restarts} and a stop");
        }
        format!("not passed, {requests} requests: {}", faults.join("; "))
    }

    /// Answers by the generation that gave them.
    pub(crate) fn answered_by(&self) -> BTreeMap<Option<u32>, u64> {
        timeline::sum(self.books.timeline.slots()).answered
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(self.losses());
        faults.extend(self.books.changes.iter().filter_map(fault));
        faults.extend(self.failure.as_ref().map(ToString::to_string));
        if self.failure.is_none() {
            faults.extend(self.silent());
        }
        faults
    }

    fn losses(&self) -> Option<String> {
        let lost = Outcome::ALL.into_iter().filter(|outcome| outcome.is_loss());
        let lost = lost.map(|outcome| (outcome.label(), self.total.count(outcome)));
        let by_class: Vec<_> = lost
            .filter(|&(_, count)| count > 0)
            .map(|(label, count)| format!("{} {label}", grouped(count)))
            .collect();
        let total = grouped(self.total.lost());
        (!by_class.is_empty()).then(|| format!("{total} lost ({})", by_class.join(", ")))
    }

    /// A generation that nobody was answered by has not proved anything.
    fn silent(&self) -> Option<String> {
        let answered = self.answered_by();
        let silent = (0..=self.restarts).find(|&number| !answered.contains_key(&Some(number)))?;
        Some(format!("generation {silent} answered nobody"))
    }
}

fn fault(change: &Change) -> Option<String> {
    let Change { from, is_stop, .. } = *change;
    match change.ended {
        Some((_, exit)) if !exit.is_success() => {
            Some(format!("generation {from} ended with exit status {exit}"))
        }
        None if change.ready.is_some() || is_stop => Some(format!("generation {from} did not end")),
        None => Some(format!("generation {from} got no successor")),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use graceful_examples::load::Sample;

    use super::*;
    use crate::kind::Kind;
    use crate::ledger::Ledger;
    use crate::process::Exit;

    /// A run of one restart in which these generations answered, these requests were lost, the old
    /// process ended with `exit`, and the stop went well.
    fn report(generations: &[u32], lost: &[Outcome], exit: Exit) -> Report {
        let ledger = Ledger::new();
        let now = Instant::now();
        let enter = |outcome, generation| {
            let (detail, took) = (String::new(), Duration::from_millis(1));
            ledger.enter(
                Kind::Get,
                Sample {
                    outcome,
                    detail,
                    generation,
                    started: now,
                    took,
                },
            );
        };
        generations
            .iter()
            .for_each(|&generation| enter(Outcome::Answered, Some(generation)));
        lost.iter().for_each(|&outcome| enter(outcome, None));
        ledger.begin(0, 1, false);
        ledger.successor_ready();
        ledger.predecessor_ended(exit);
        ledger.begin(1, 2, true);
        ledger.predecessor_ended(Exit::Status(0));
        let args = Args::parse_from(["demonstration", "--restarts", "1"]);
        Report::new(&args, ledger.read(Books::clone), Ok(()))
    }

    #[test]
    fn all_answered_by_every_generation_passes() {
        let report = report(&[0, 1], &[], Exit::Status(0));
        assert!(report.is_success());
        assert_eq!(
            report.verdict(),
            "0 lost of 2 requests over 1 restart and a stop"
        );
    }

    #[test]
    fn every_single_loss_fails_and_is_named() {
        for outcome in Outcome::ALL.into_iter().filter(|outcome| outcome.is_loss()) {
            let report = report(&[0, 1], &[outcome], Exit::Status(0));
            assert!(!report.is_success(), "{outcome:?}");
            assert!(
                report.verdict().contains(outcome.label()),
                "{}",
                report.verdict()
            );
        }
    }

    #[test]
    fn a_generation_that_ends_badly_or_answers_nobody_fails() {
        for exit in [Exit::Status(1), Exit::Signal(9), Exit::Unknown] {
            assert!(!report(&[0, 1], &[], exit).is_success(), "{exit}");
        }
        assert!(!report(&[0], &[], Exit::Status(0)).is_success());
    }

    #[test]
    fn a_run_that_did_not_come_to_its_end_fails() {
        let mut report = report(&[0, 1], &[], Exit::Status(0));
        report.failure = Some(Failure::new("interrupted"));
        assert!(!report.is_success());
    }

    #[test]
    fn a_change_without_an_end_fails() {
        let mut report = report(&[0, 1], &[], Exit::Status(0));
        report.books.changes[1].ended = None;
        assert!(
            report.verdict().ends_with("generation 1 did not end"),
            "{}",
            report.verdict()
        );
        report.books.changes[0].ended = None;
        report.books.changes[0].ready = None;
        assert!(report.verdict().contains("generation 0 got no successor"));
    }
}
