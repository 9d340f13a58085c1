//! What does it cost to know every connection, beside a map of them?
//!
//! `cargo bench -p graceful-benches --bench connections`. With so many connections open: one more that comes and goes, a
//! change of state of one at random (a thousand of them a row), all counted by state, all copied into a buffer that is
//! used again. Maps have an entry of the same data.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use divan::{Bencher, black_box, counter::ItemsCount};
use graceful_benches::{
    maps::{Dash, Locked},
    register::{Register, order},
};
use graceful_layer::{ConnInfo, Connection, Peer, Tracker};

fn main() {
    divan::main();
}

const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
const CHANGES: usize = 1_000;

struct Tracked {
    tracker: Tracker,
    connections: Vec<Connection>,
    snapshot: Vec<ConnInfo>,
}

/// Every tracker there was: one that is dropped gives its cells to the next, which would then look at all of them.
fn used() -> MutexGuard<'static, Vec<Tracker>> {
    static USED: Mutex<Vec<Tracker>> = Mutex::new(Vec::new());
    USED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Register for Tracked {
    fn with(n: usize) -> Self {
        let tracker = Tracker::new();
        used().push(tracker.clone());
        let connections = (0..n).map(|_| tracker.open(Peer::Unknown)).collect();
        Self {
            tracker,
            connections,
            snapshot: Vec::new(),
        }
    }

    fn come_and_go(&mut self) {
        drop(black_box(self.tracker.open(Peer::Unknown)));
    }

    fn change(&mut self, at: usize, on: bool) {
        self.connections[at].set_handshaking(on);
    }

    fn count(&mut self) -> usize {
        black_box(self.tracker.counts()).total()
    }

    fn snapshot(&mut self) -> usize {
        self.tracker.snapshot_into(&mut self.snapshot);
        self.snapshot.len()
    }
}

#[divan::bench(types = [Tracked, Dash, Locked], args = SIZES)]
fn come_and_go<R: Register>(bencher: Bencher<'_, '_>, n: usize) {
    let mut register = R::with(n);
    bencher.bench_local(|| register.come_and_go());
}

#[divan::bench(types = [Tracked, Dash, Locked], args = SIZES)]
fn change_of_state<R: Register>(bencher: Bencher<'_, '_>, n: usize) {
    let mut register = R::with(n);
    let order = order(n);
    let mut next = order.iter().cycle();
    let mut on = false;
    bencher.counter(ItemsCount::new(CHANGES)).bench_local(|| {
        on = !on;
        for &at in next.by_ref().take(CHANGES) {
            register.change(at, on);
        }
    });
}

/// The least that a change can be: a handle, and one step on a line of memory that it leads to.
#[divan::bench(args = SIZES)]
fn change_of_one_word(bencher: Bencher<'_, '_>, n: usize) {
    #[repr(align(64))]
    #[derive(Default)]
    struct Line(AtomicU32);
    let lines: Vec<_> = (0..n).map(|_| Line::default()).collect();
    let handles: Vec<_> = lines.iter().collect();
    let order = order(n);
    let mut next = order.iter().cycle();
    bencher.counter(ItemsCount::new(CHANGES)).bench_local(|| {
        for &at in next.by_ref().take(CHANGES) {
            handles[at].0.fetch_xor(1, Relaxed);
        }
    });
}

#[divan::bench(types = [Tracked, Dash, Locked], args = SIZES)]
fn count_by_state<R: Register>(bencher: Bencher<'_, '_>, n: usize) {
    let mut register = R::with(n);
    bencher.bench_local(|| assert_eq!(register.count(), n));
}

#[divan::bench(types = [Tracked, Dash, Locked], args = SIZES)]
fn snapshot<R: Register>(bencher: Bencher<'_, '_>, n: usize) {
    let mut register = R::with(n);
    bencher.bench_local(|| assert_eq!(register.snapshot(), n));
}
