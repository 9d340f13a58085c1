//! The tables of the report, as rows of text that the terminal and the page both show.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use graceful_examples::load::Outcome;

use crate::change::Change;
use crate::report::Report;
use crate::tally::Tally;
use crate::text::{grouped, time};

/// A table: what it says, its columns, its rows.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) head: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
    /// The columns in which everything but 0 is a loss.
    pub(crate) losses: Range<usize>,
}

impl Table {
    pub(crate) fn new(
        title: &'static str,
        head: Vec<&'static str>,
        rows: Vec<Vec<String>>,
    ) -> Self {
        let title = title.to_owned();
        Self {
            title,
            head,
            rows,
            losses: 0..0,
        }
    }

    /// Whether a column holds numbers, or dashes in the place of numbers, and so stands to the
    /// right.
    pub(crate) fn is_numeric(&self, column: usize) -> bool {
        let number = |first: char| first.is_ascii_digit() || first == '–';
        column > 0 && self.rows.iter().all(|row| row[column].starts_with(number))
    }

    /// The same table without the losses of which there are none, for where it does not fit.
    pub(crate) fn shortened(&self) -> Self {
        let lossless = |column| {
            self.rows
                .iter()
                .all(|row| !self.is_bad(column, &row[column]))
        };
        let kept = |column: &usize| !self.losses.contains(column) || !lossless(*column);
        let kept: Vec<usize> = (0..self.head.len()).filter(kept).collect();
        let row = |row: &Vec<String>| kept.iter().map(|&column| row[column].clone()).collect();
        Self {
            title: format!("{}; all other losses: 0", self.title),
            head: kept.iter().map(|&column| self.head[column]).collect(),
            rows: self.rows.iter().map(row).collect(),
            losses: self.losses.start..kept.len(),
        }
    }

    /// Whether a cell counts losses.
    pub(crate) fn is_bad(&self, column: usize, cell: &str) -> bool {
        self.losses.contains(&column) && cell != "0"
    }
}

/// Every table of a report that has something to say.
pub(crate) fn all(report: &Report) -> Vec<Table> {
    let tables = [
        outcomes(report),
        times(report),
        closes(report),
        changes(report),
        losses(report),
    ];
    tables
        .into_iter()
        .filter(|table| !table.rows.is_empty())
        .collect()
}

fn outcomes(report: &Report) -> Table {
    let mut head = vec!["kind", "requests"];
    head.extend(Outcome::ALL.map(Outcome::label));
    let rows = by_kind(report, |tally| {
        let counts = Outcome::ALL.map(|outcome| grouped(tally.count(outcome)));
        [vec![grouped(tally.requests())], counts.to_vec()].concat()
    });
    let losses = 3..head.len();
    Table {
        losses,
        ..Table::new("What became of the requests", head, rows)
    }
}

fn times(report: &Report) -> Table {
    let head = vec!["kind", "p50", "p99", "slowest", "slowest in a restart"];
    let rows = by_kind(report, |tally| {
        let times = &tally.times;
        let slowest = [times.longest(), tally.slowest_in_restart];
        [times.quantile(50), times.quantile(99)]
            .into_iter()
            .chain(slowest)
            .map(time)
            .collect()
    });
    Table::new("How long the answers took", head, rows)
}

fn closes(report: &Report) -> Table {
    let total = &report.total;
    let rows = [
        (
            "ended by the server while idle, announced",
            total.closes.announced,
        ),
        (
            "ended by the server while idle, unannounced",
            total.closes.unannounced,
        ),
        ("refused after the stop", total.after_stop),
    ];
    let rows = rows
        .map(|(what, count)| vec![what.to_owned(), grouped(count)])
        .to_vec();
    Table::new("Connections (no losses)", vec!["what", "count"], rows)
}

fn changes(report: &Report) -> Table {
    let answered = report.answered_by();
    let rows = report.books.changes.iter().map(|change| {
        let by_old = answered.get(&Some(change.from)).copied();
        let since = |moment| time(change.signalled.max(moment) - change.signalled);
        let ready = change.ready.map_or_else(none, since);
        let ended = change.ended.map_or_else(none, |(ended, _)| since(ended));
        let exit = change.ended.map_or_else(none, |(_, exit)| exit.to_string());
        vec![
            name(change),
            change.pid.to_string(),
            grouped(by_old.unwrap_or_default()),
            ready,
            ended,
            exit,
            time(change.slowest),
        ]
    });
    let head = vec![
        "change",
        "pid",
        "it answered",
        "successor",
        "old ended",
        "exit",
        "slowest quick",
    ];
    Table::new(
        "Restarts and the stop, from the signal on",
        head,
        rows.collect(),
    )
}

fn losses(report: &Report) -> Table {
    let mut alike: BTreeMap<_, (u64, Duration)> = BTreeMap::new();
    for loss in &report.books.losses {
        let (count, _first) = alike
            .entry((loss.kind, loss.outcome, &loss.detail))
            .or_insert((0, loss.at));
        *count += 1;
    }
    let rows = alike
        .into_iter()
        .take(SHOWN)
        .map(|((kind, outcome, detail), (count, first))| {
            let first = format!("{:.2} s", first.as_secs_f64());
            vec![
                kind.label().to_owned(),
                outcome.label().to_owned(),
                grouped(count),
                first,
                detail.clone(),
            ]
        });
    let head = vec!["kind", "class", "count", "first at", "what was seen"];
    Table::new("Losses", head, rows.collect())
}

/// `2 → 3`, or `stop of 3`.
pub(crate) fn name(change: &Change) -> String {
    let from = change.from;
    if change.is_stop {
        format!("stop of {from}")
    } else {
        format!("{from} → {}", from + 1)
    }
}

/// One row for each kind, and one for all.
fn by_kind(report: &Report, cells: impl Fn(&Tally) -> Vec<String>) -> Vec<Vec<String>> {
    let row = |name: &str, tally| [vec![name.to_owned()], cells(tally)].concat();
    let kinds = report
        .books
        .tallies
        .iter()
        .map(|(kind, tally)| row(kind.label(), tally));
    kinds.chain([row("all", &report.total)]).collect()
}

fn none() -> String {
    "–".to_owned()
}

const SHOWN: usize = 20;
