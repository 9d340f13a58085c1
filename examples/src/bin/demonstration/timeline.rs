//! What happened when: answers by generation and losses, a tenth of a second at a time.

use std::collections::BTreeMap;
use std::time::Duration;

/// The slots of the run so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    slots: Vec<Slot>,
}

/// What ended within a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Answers by the generation that gave them; none for answers that did not say.
    pub(crate) answered: BTreeMap<Option<u32>, u64>,
    pub(crate) lost: u64,
}

impl Timeline {
    pub(crate) const SLOT: Duration = Duration::from_millis(100);

    pub(crate) fn answered(&mut self, at: Duration, generation: Option<u32>) {
        *self.slot(at).answered.entry(generation).or_default() += 1;
    }

    pub(crate) fn lost(&mut self, at: Duration) {
        self.slot(at).lost += 1;
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The whole second before the slot of `now`, which is still filling.
    pub(crate) fn last_second(&self, now: Duration) -> Slot {
        let end = index(now).min(self.slots.len());
        sum(&self.slots[end.saturating_sub(10)..end])
    }

    /// The same time in at most `most` longer slots, and how long each of them is.
    pub(crate) fn condensed(&self, most: usize) -> (Vec<Slot>, Duration) {
        let merged = self.slots.len().div_ceil(most).max(1);
        let length = Self::SLOT * u32::try_from(merged).unwrap_or(u32::MAX);
        (self.slots.chunks(merged).map(sum).collect(), length)
    }

    fn slot(&mut self, at: Duration) -> &mut Slot {
        let index = index(at);
        if self.slots.len() <= index {
            self.slots.resize(index + 1, Slot::default());
        }
        &mut self.slots[index]
    }
}

impl Slot {
    pub(crate) fn total(&self) -> u64 {
        self.answered.values().sum()
    }
}

pub(crate) fn sum(slots: &[Slot]) -> Slot {
    let mut sum = Slot::default();
    for slot in slots {
        sum.lost += slot.lost;
        for (&generation, count) in &slot.answered {
            *sum.answered.entry(generation).or_default() += count;
        }
    }
    sum
}

fn index(at: Duration) -> usize {
    (at.as_millis() / Timeline::SLOT.as_millis()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tenths: u32) -> Duration {
        Timeline::SLOT * tenths
    }

    #[test]
    fn the_last_second_is_the_ten_slots_before_the_one_that_fills() {
        let mut timeline = Timeline::default();
        (0..=12).for_each(|tenths| timeline.answered(at(tenths), Some(tenths / 7)));
        timeline.lost(at(1));
        timeline.lost(at(5));
        let last = timeline.last_second(at(12));
        assert_eq!((last.total(), last.lost), (10, 1));
        assert_eq!(last.answered, BTreeMap::from([(Some(0), 5), (Some(1), 5)]));
    }

    #[test]
    fn condensing_loses_nothing() {
        let mut timeline = Timeline::default();
        (0..100).for_each(|tenths| timeline.answered(at(tenths), None));
        let (slots, length) = timeline.condensed(30);
        assert_eq!((slots.len(), length), (25, at(4)));
        assert_eq!(sum(&slots).total(), 100);
    }
}
