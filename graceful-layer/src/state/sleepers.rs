//! Who must be woken at the cutoff: requests whose task is not their connection's, which would sleep through it.

use std::task::Waker;

use super::Arena;
use crate::sync::{Mutex, lock};

/// The wakers of one thread's requests.
#[derive(Debug, Default)]
pub(super) struct Sleepers {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// A place among the sleepers; given up when dropped.
#[derive(Debug)]
pub(crate) struct Bed {
    sleepers: &'static Mutex<Sleepers>,
    place: usize,
}

impl Bed {
    pub(crate) fn new(arena: &'static Arena, waker: &Waker) -> Self {
        let sleepers = arena.sleepers();
        let mut beds = lock(sleepers);
        let place = beds.free.pop().unwrap_or_else(|| {
            beds.wakers.push(None);
            beds.wakers.len() - 1
        });
        beds.wakers[place] = Some(waker.clone());
        drop(beds);
        Self { sleepers, place }
    }

    /// The task may have moved to another waker.
    pub(crate) fn stay(&self, waker: &Waker) {
        let mut beds = lock(self.sleepers);
        let bed = &mut beds.wakers[self.place];
        let replaced = match bed {
            Some(known) if known.will_wake(waker) => None,
            _ => bed.replace(waker.clone()),
        };
        drop(beds);
        drop(replaced);
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let mut beds = lock(self.sleepers);
        let left = beds.wakers[self.place].take();
        beds.free.push(self.place);
        drop(beds);
        drop(left);
    }
}

/// Wakes all, with no lock held meanwhile.
pub(super) fn wake(sleepers: &Mutex<Sleepers>) {
    let wakers: Vec<_> = lock(sleepers).wakers.iter().flatten().cloned().collect();
    wakers.into_iter().for_each(Waker::wake);
}
