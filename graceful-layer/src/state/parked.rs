//! Requests that wait: for their handler, or for their client to read. They can be shown, and woken at the cutoff.
//!
//! A request that is answered in one go never gets here, so that only those pay for being shown that wait anyway.

use std::task::Waker;

use super::Arena;
use crate::{
    line::Line,
    sync::{Mutex, lock},
};

/// The requests that began to wait on one thread.
#[derive(Debug, Default)]
pub(super) struct Parked {
    places: Vec<Entry>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Entry {
    /// Whether there is one in it. What is left of the one before is written over: a place allocates nothing.
    taken: bool,
    line: Line,
    /// Of a request whose task is not its connection's: nobody else would wake it at the cutoff.
    waker: Option<Waker>,
}

/// A place among those that wait; given up when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    parked: &'static Mutex<Parked>,
    index: usize,
}

impl Place {
    pub(crate) fn take(arena: &'static Arena, line: &Line, waker: Option<Waker>) -> Self {
        let parked = arena.parked();
        let mut all = lock(parked);
        let index = all.free.pop().unwrap_or_else(|| {
            all.places.push(Entry {
                taken: false,
                line: Line::blank(line.cell()),
                waker: None,
            });
            all.places.len() - 1
        });
        let entry = &mut all.places[index];
        entry.taken = true;
        entry.line.copy(line);
        entry.waker = waker;
        drop(all);
        Self { parked, index }
    }

    /// The task may have moved to another waker.
    pub(crate) fn stay(&self, waker: &Waker) {
        let mut all = lock(self.parked);
        let entry = &mut all.places[self.index];
        let replaced = match &entry.waker {
            Some(known) if known.will_wake(waker) => None,
            _ => entry.waker.replace(waker.clone()),
        };
        // Dropped with the lock free: the last waker of a task drops the task and all it holds.
        drop(all);
        drop(replaced);
    }

    /// The handler has answered; what is waited for now is the client.
    pub(crate) fn note_answering(&self) {
        lock(self.parked).places[self.index].line.answering = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = lock(self.parked);
        let entry = &mut all.places[self.index];
        entry.taken = false;
        if entry.line.is_long() {
            entry.line = Line::blank(entry.line.cell());
        }
        let waker = entry.waker.take();
        all.free.push(self.index);
        drop(all);
        drop(waker);
    }
}

/// Wakes all that nobody else wakes, with no lock held meanwhile.
pub(super) fn wake(parked: &Mutex<Parked>) {
    let wakers: Vec<_> = lock(parked)
        .entries()
        .filter_map(|e| e.waker.clone())
        .collect();
    wakers.into_iter().for_each(Waker::wake);
}

/// Shows all that wait. Under the lock, so `show` is brief.
pub(super) fn show(parked: &Mutex<Parked>, show: &mut impl FnMut(&Line)) {
    lock(parked).entries().for_each(|entry| show(&entry.line));
}

impl Parked {
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.places.iter().filter(|entry| entry.taken)
    }
}

#[cfg(all(test, not(graceful_loom)))]
mod tests {
    use http::Request;

    use super::*;
    use crate::Tracker;

    #[test]
    fn a_place_is_used_again_and_keeps_no_long_target() {
        let arena = Tracker::new().arena();
        let cell = arena.loose_cell();
        for (target, kept) in [("/short", true), (&"/".repeat(1_000), false), ("/", true)] {
            let mut line = Line::blank(cell);
            line.note(&Request::builder().uri(target).body(()).unwrap(), cell);
            let place = Place::take(arena, &line, None);
            let (parked, index) = (place.parked, place.index);
            let mut shown = Vec::new();
            show(parked, &mut |line: &Line| {
                shown.push(line.path().to_owned())
            });
            assert_eq!(shown, [target]);
            drop(place);
            let all = lock(parked);
            assert_eq!((all.places.len(), index, all.entries().count()), (1, 0, 0));
            assert_eq!(all.places[0].line.path() == target, kept);
            assert!(!all.places[0].line.is_long());
        }
    }
}
