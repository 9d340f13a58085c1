//! A thread's own share of an arena: its cells, used and free (invariant 3).

use super::{Arena, Cell};
use crate::sync::Ordering::*;

const CHUNK: usize = if cfg!(graceful_loom) { 2 } else { 64 };

type Chunk = [Cell; CHUNK];

/// A cell or lock on lines of its own: neighbours belong to other threads.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Apart<T>(pub(super) T);

#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) chunks: Vec<&'static Chunk>,
    pub(super) free: Vec<&'static Cell>,
    /// Without a part but with a request in flight: a body outlived its connection.
    pub(super) lingering: Vec<&'static Cell>,
    pub(super) live: usize,
    pub(super) opened: u64,
    pub(super) requests: u64,
}

impl Shard {
    pub(super) fn take_cell(&mut self, arena: &'static Arena) -> &'static Cell {
        if self.free.is_empty() {
            self.reclaim(Cell::in_flight);
        }
        if let Some(cell) = self.free.pop() {
            return cell;
        }
        let chunk: &'static Chunk = Box::leak(Box::new(std::array::from_fn(|_| Cell::new(arena))));
        self.chunks.push(chunk);
        self.free.extend(&chunk[1..]);
        &chunk[0]
    }

    /// Frees lingering cells whose last request is over.
    pub(super) fn reclaim(&mut self, in_flight: impl Fn(&Cell) -> usize) {
        let Self {
            lingering, free, ..
        } = self;
        lingering.retain(|cell| {
            let over = in_flight(cell) == 0;
            if over {
                free.push(cell);
            }
            !over
        });
    }
}

/// How many shards an arena has: as many as there are processors to run on. A quota of the control group says nothing of
/// how many threads run at once, and would have to be read from files when a server starts.
pub(super) fn parallelism() -> usize {
    processors().next_power_of_two().min(64)
}

fn processors() -> usize {
    // It fails where there are more of them than rustix has place for.
    #[cfg(target_os = "linux")]
    if let Ok(set) = rustix::thread::sched_getaffinity(None) {
        return set.count() as usize;
    }
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A small number for this thread, for picking a shard.
#[inline]
pub(super) fn thread_index() -> usize {
    use std::sync::atomic::AtomicUsize;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static INDEX: usize = NEXT.fetch_add(1, Relaxed));
    INDEX.try_with(|index| *index).unwrap_or(0)
}
