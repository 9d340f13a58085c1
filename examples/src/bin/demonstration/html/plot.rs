//! The timeline: answers per second, stacked by generation, with restarts and losses marked.
//!
//! The drawing has units of its own: a slot of time is 1 wide and an answer 1 high. It stretches to
//! the width of the page, and only the drawing does: all text is HTML around it ([`super::axes`]),
//! so that it is as large on a telephone as on a screen.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::change::Change;
use crate::report::Report;
use crate::text::{generation, grouped};
use crate::timeline::Slot;

/// A timeline about to be drawn.
pub(super) struct Plot<'a> {
    pub(super) report: &'a Report,
    slots: Vec<Slot>,
    /// How long a slot is.
    slot: Duration,
    /// Answers per second at the top of the drawing.
    pub(super) top: f64,
}

impl<'a> Plot<'a> {
    /// There is nothing to draw before the first request has ended.
    pub(super) fn of(report: &'a Report) -> Option<Self> {
        let (slots, slot) = report.books.timeline.condensed(MOST_SLOTS);
        let most = slots.iter().map(Slot::total).max()? as f64 / slot.as_secs_f64();
        let top = round_up(most);
        Some(Self {
            report,
            slots,
            slot,
            top,
        })
    }

    /// The drawing.
    pub(super) fn svg(&self) -> String {
        let (width, height) = (self.slots.len(), self.height());
        let changes: String = self
            .report
            .books
            .changes
            .iter()
            .map(|of| self.change(of))
            .collect();
        let (areas, losses, readings) = (self.areas(), self.losses(), self.readings());
        format!(
            "<svg viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"Answers per second over time, by generation\">\n\
             <g transform=\"matrix(1 0 0 -1 0 {height})\">\n\
             {changes}{areas}{losses}{readings}</g>\n</svg>\n"
        )
    }

    /// The generations that answered.
    pub(super) fn generations(&self) -> BTreeSet<Option<u32>> {
        self.slots
            .iter()
            .flat_map(|slot| slot.answered.keys().copied())
            .collect()
    }

    /// The length of the time axis.
    pub(super) fn seconds(&self) -> f64 {
        self.slot.as_secs_f64() * self.slots.len() as f64
    }

    /// Where a moment is on the time axis, from 0 to 1.
    pub(super) fn at(&self, moment: Instant) -> f64 {
        (self.report.books.since(moment).as_secs_f64() / self.seconds()).min(1.0)
    }

    /// Each shape reaches from the axis to the top of its generation, so the upper ones are drawn
    /// first and the lower ones over them.
    fn areas(&self) -> String {
        let area = |by| {
            let up_to = |slot: &Slot| {
                slot.answered
                    .range(..=by)
                    .map(|(_, count)| count)
                    .sum::<u64>()
            };
            let steps = self.slots.iter().enumerate();
            let steps = steps.map(|(index, slot)| format!("V{}H{}", up_to(slot), index + 1));
            let steps: String = steps.collect();
            format!("<path class=\"{}\" d=\"M0 0{steps}V0Z\"/>\n", class(by))
        };
        self.generations().into_iter().rev().map(area).collect()
    }

    /// From the signal to the end of the old process.
    fn change(&self, change: &Change) -> String {
        let width = self.slots.len() as f64;
        let from = self.at(change.signalled) * width;
        let to = change
            .ended
            .map_or(width, |(ended, _)| self.at(ended) * width);
        let top = self.height();
        format!(
            "<path class=\"change\" d=\"M{from:.2} 0V{top}H{to:.2}V0Z\"/>\
             <path class=\"signal\" d=\"M{from:.2} 0V{top}\"/>\n"
        )
    }

    fn losses(&self) -> String {
        let lossy = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.lost > 0);
        let top = self.height();
        lossy
            .map(|(index, _)| format!("<path class=\"loss\" d=\"M{index}.5 0V{top}\"/>\n"))
            .collect()
    }

    /// Invisible columns that tell their numbers to a pointer.
    fn readings(&self) -> String {
        let top = self.height();
        let column = |(index, slot)| {
            let reading = self.reading(index, slot);
            let column = format!("M{index} 0V{top}H{}V0Z", index + 1);
            format!("<path class=\"reading\" d=\"{column}\"><title>{reading}</title></path>\n")
        };
        self.slots.iter().enumerate().map(column).collect()
    }

    fn reading(&self, index: usize, slot: &Slot) -> String {
        let seconds = self.slot.as_secs_f64();
        let rate = |count: u64| grouped((count as f64 / seconds).round() as u64);
        let answered = slot.answered.iter();
        let rates =
            answered.map(|(&by, &count)| format!("\n{}: {}/s", generation(by), rate(count)));
        let lost = (slot.lost > 0).then(|| format!("\nlost: {}", slot.lost));
        let at = format!("{:.1} s", seconds * index as f64);
        [at].into_iter().chain(rates).chain(lost).collect()
    }

    fn height(&self) -> f64 {
        self.top * self.slot.as_secs_f64()
    }
}

/// The next number that is 1, 2, 4 or 8 times a power of ten, so that its quarters are round too.
pub(super) fn round_up(number: f64) -> f64 {
    let power = 10_f64.powf(number.max(1e-3).log10().floor());
    let factors = [1.0, 2.0, 4.0, 8.0, 10.0];
    power
        * factors
            .into_iter()
            .find(|factor| factor * power >= number)
            .unwrap_or(10.0)
}

/// The style of a generation; the style sheet has five, used in turn.
pub(super) fn class(generation: Option<u32>) -> String {
    generation.map_or_else(|| "unknown".to_owned(), |number| format!("g{}", number % 5))
}

const MOST_SLOTS: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_the_axis_has_round_quarters() {
        for (number, top) in [
            (2950.0, 4000.0),
            (4000.0, 4000.0),
            (8001.0, 10_000.0),
            (1.5, 2.0),
        ] {
            assert!((round_up(number) - top).abs() < 1e-9, "{number}");
        }
    }
}
