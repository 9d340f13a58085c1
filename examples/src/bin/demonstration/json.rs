//! The report for machines.

use std::time::Duration;

use graceful_examples::load::Outcome;
use serde_json::{Map, Value, json};

use crate::change::Change;
use crate::report::Report;
use crate::tally::Tally;
use crate::timeline::Slot;

/// The whole report; times are milliseconds.
pub(crate) fn render(report: &Report) -> Value {
    let books = &report.books;
    let (slots, slot) = books.timeline.condensed(MOST_SLOTS);
    let kinds: Map<_, _> = books
        .tallies
        .iter()
        .map(|(kind, of)| (kind.label().to_owned(), tally(of)))
        .collect();
    let losses = books.losses.iter().map(|loss| {
        json!({
            "at_ms": ms(loss.at), "kind": loss.kind.label(), "outcome": loss.outcome.label(),
            "took_ms": ms(loss.took), "detail": loss.detail,
        })
    });
    let changes = books.changes.iter().map(|of| change(report, of));
    let slots = slots.iter().map(seen);
    json!({
        "passed": report.is_success(),
        "verdict": report.verdict(),
        "restarts": report.restarts,
        "rate": report.rate,
        "took_ms": ms(report.took),
        "total": tally(&report.total),
        "kinds": kinds,
        "changes": changes.collect::<Vec<_>>(),
        "losses": losses.collect::<Vec<_>>(),
        "timeline": { "slot_ms": ms(slot), "slots": slots.collect::<Vec<_>>() },
    })
}

fn tally(tally: &Tally) -> Value {
    let outcomes =
        Outcome::ALL.map(|outcome| (outcome.label().to_owned(), json!(tally.count(outcome))));
    json!({
        "requests": tally.requests(),
        "lost": tally.lost(),
        "outcomes": Map::from_iter(outcomes),
        "refused_after_stop": tally.after_stop,
        "idle_closes": {
            "announced": tally.closes.announced, "unannounced": tally.closes.unannounced,
        },
        "p50_ms": ms(tally.times.quantile(50)),
        "p99_ms": ms(tally.times.quantile(99)),
        "max_ms": ms(tally.times.longest()),
        "slowest_in_restart_ms": ms(tally.slowest_in_restart),
    })
}

fn change(report: &Report, change: &Change) -> Value {
    let since = |moment| ms(report.books.since(moment));
    json!({
        "from": change.from,
        "pid": change.pid,
        "is_stop": change.is_stop,
        "signalled_ms": since(change.signalled),
        "ready_ms": change.ready.map(since),
        "ended_ms": change.ended.map(|(ended, _)| since(ended)),
        "exit": change.ended.map(|(_, exit)| exit.to_string()),
        "slowest_quick_answer_ms": ms(change.slowest),
    })
}

fn seen(slot: &Slot) -> Value {
    let by =
        |by: &Option<u32>| by.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let answered = slot
        .answered
        .iter()
        .map(|(generation, &count)| (by(generation), json!(count)));
    json!({ "answered": Map::from_iter(answered), "lost": slot.lost })
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

const MOST_SLOTS: usize = 2000;
