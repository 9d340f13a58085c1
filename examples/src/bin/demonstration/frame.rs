//! What the live view shows at one moment, as text.

use std::fmt::Write;
use std::time::Instant;

use crate::ledger::Books;
use crate::paint::Paint;
use crate::status::{Member, Status};
use crate::tables;
use crate::text::{generation, grouped};
use crate::timeline::{self, Slot};
use crate::view::Scene;

/// One moment of a run.
pub(crate) struct Frame {
    seconds: f64,
    /// What is going on: `restart 2 of 5: 1 → 2`.
    doing: String,
    /// The last seconds, a fifth of a second at a time.
    past: Vec<Slot>,
    last_second: Slot,
    answered: u64,
    lost: u64,
    /// Generations that are alive, each in its own words.
    members: Vec<(u32, String)>,
}

impl Frame {
    pub(crate) fn of(scene: &Scene) -> Self {
        let members = scene.board.members();
        let members = members
            .into_iter()
            .map(|(number, of)| (number, member(number, &of)));
        scene.ledger.read(|books| {
            let (now, total) = (books.since(Instant::now()), books.total());
            Self {
                seconds: now.as_secs_f64(),
                doing: doing(books, scene.restarts),
                past: past(books.timeline.slots()),
                last_second: books.timeline.last_second(now),
                answered: total.requests() - total.lost(),
                lost: total.lost(),
                members: members.collect(),
            }
        })
    }

    /// One line, for a log.
    pub(crate) fn line(&self) -> String {
        let rates = self.last_second.answered.iter();
        let rates: Vec<_> = rates
            .map(|(&by, rate)| format!("{}: {rate}", generation(by)))
            .collect();
        let members: Vec<_> = self
            .members
            .iter()
            .map(|(_, member)| member.as_str())
            .collect();
        format!(
            "{:5.1} s  {:>5}/s ({})  lost {}  {}  [{}]",
            self.seconds,
            self.last_second.total(),
            rates.join(", "),
            self.lost,
            self.doing,
            members.join("; "),
        )
    }

    /// A block of lines, for a terminal.
    pub(crate) fn block(&self, paint: Paint) -> String {
        let past: String = self
            .past
            .iter()
            .map(|slot| self.column(slot, paint))
            .collect();
        let lost = format!("lost {}", grouped(self.lost));
        let lost = if self.lost == 0 {
            lost
        } else {
            paint.bad(&lost)
        };
        format!(
            "{:<60}{:>8.1} s\n{past}\n\n{}\n{}\nanswered {}   {lost}",
            self.doing,
            self.seconds,
            self.rates(paint),
            self.alive(paint),
            grouped(self.answered),
        )
    }

    fn rates(&self, paint: Paint) -> String {
        let total = self.last_second.total();
        let mut lines = format!("{:>9} requests per second\n", grouped(total));
        for (&by, &rate) in &self.last_second.answered {
            let bar = "█".repeat(scaled(rate, total, 40));
            let bar = paint.of(by, &format!("{} {bar}", generation(by)));
            // Writing to a string does not fail.
            let _ = writeln!(lines, "{:>9} {bar}", grouped(rate));
        }
        lines
    }

    fn alive(&self, paint: Paint) -> String {
        let members = self.members.iter();
        members
            .map(|(number, member)| paint.of(Some(*number), member) + "\n")
            .collect()
    }

    /// A bar in the colour of the generation that answered most, or a mark for a loss.
    fn column(&self, slot: &Slot, paint: Paint) -> String {
        if slot.lost > 0 {
            return paint.bad("!");
        }
        let highest = self.past.iter().map(Slot::total).max().unwrap_or_default();
        let most = slot.answered.iter().max_by_key(|&(_, count)| count);
        let by = most.and_then(|(&by, _)| by);
        paint.of(by, BARS[scaled(slot.total(), highest, BARS.len() - 1)])
    }
}

fn doing(books: &Books, restarts: u32) -> String {
    let done = books
        .changes
        .iter()
        .filter(|change| !change.is_stop)
        .count();
    match books.changes.last() {
        Some(change) if change.is_stop => format!("{done} of {restarts} restarts done, stop"),
        Some(change) if change.ended.is_none() => {
            format!("restart {done} of {restarts}: {}", tables::name(change))
        }
        _ => format!("{done} of {restarts} restarts done"),
    }
}

fn past(slots: &[Slot]) -> Vec<Slot> {
    let shown = slots.len().saturating_sub(2 * COLUMNS) / 2 * 2;
    slots[shown..].chunks_exact(2).map(timeline::sum).collect()
}

fn member(number: u32, Member { pid, status }: &Member) -> String {
    let Status {
        phase,
        in_flight,
        connections,
    } = status;
    let mut text = format!("generation {number} pid {pid}");
    // Writing to a string does not fail.
    let _ = write!(text, " {}", phase.as_deref().unwrap_or("–"));
    if let Some(in_flight) = in_flight {
        let _ = write!(text, ", {in_flight} in flight");
    }
    for (state, count) in connections {
        let _ = write!(text, ", {count} {state}");
    }
    text
}

/// `part` of `whole`, out of `steps`.
fn scaled(part: u64, whole: u64, steps: usize) -> usize {
    let steps = u64::try_from(steps).unwrap_or(u64::MAX);
    usize::try_from(part * steps / whole.max(1)).unwrap_or(0)
}

const COLUMNS: usize = 70;
const BARS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use graceful_examples::load::{Outcome, Sample};

    use super::*;
    use crate::kind::Kind;
    use crate::ledger::Ledger;
    use crate::status::Board;

    /// Two seconds into a run, 30 answers of each of two generations and a loss ended a second ago.
    fn frame() -> Frame {
        let ledger = Ledger::new();
        let started = Instant::now();
        let enter = |outcome, generation| {
            let (detail, took) = (String::new(), Duration::from_millis(50));
            ledger.enter(
                Kind::Get,
                Sample {
                    outcome,
                    detail,
                    generation,
                    started,
                    took,
                },
            );
        };
        (0..60).for_each(|number| enter(Outcome::Answered, Some(number % 2)));
        enter(Outcome::Cut, None);
        ledger.begin(0, 11, false);
        let board = Board::default();
        board.add(0, 11);
        board.add(1, 12);
        let scene = Scene {
            ledger: Arc::new(ledger),
            board,
            restarts: 5,
        };
        let mut frame = Frame::of(&scene);
        frame.last_second = scene
            .ledger
            .read(|books| timeline::sum(books.timeline.slots()));
        frame
    }

    #[test]
    fn a_line_tells_it_all() {
        let line = frame().line();
        let told = "60/s (generation 0: 30, generation 1: 30)  lost 1  restart 1 of 5: 0 → 1  \
                    [generation 0 pid 11 –; generation 1 pid 12 –]";
        assert!(line.ends_with(told), "{line}");
    }

    #[test]
    fn a_block_shows_each_generation_as_its_part_of_the_whole() {
        let block = frame().block(Paint::none());
        let half = format!("       30 generation 1 {}\n", "█".repeat(20));
        assert!(block.contains(&half), "{block}");
        assert!(block.ends_with("answered 60   lost 1"), "{block}");
    }
}
