//! Where cells live: shards of chunks, leased by a tracker and used again by the next one.

mod pool;
mod shard;

use std::{
    fmt,
    sync::{OnceLock, Weak},
    task::{Context, Poll},
    time::Duration,
};

use self::shard::{Apart, Shard, parallelism, thread_index};
use super::{
    Cell, Orders, Part,
    bell::Bell,
    parked::{self, Parked},
};
use crate::{
    conn::Peer,
    line::Line,
    phase::Phase,
    sync::{AtomicU32, AtomicU64, Mutex, Ordering::*, lock},
    tracker::Lease,
};

/// Milliseconds, until a drain brings its own.
const LINGER: u32 = 500;

/// What holds the drain besides connections and requests, with its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blocker {
    /// The program holds it: [`Beacon`](crate::Beacon).
    Guard(String),
    /// A hook that runs.
    Hook(String),
}

impl Blocker {
    pub(crate) fn label(&self) -> &str {
        match self {
            Self::Guard(label) | Self::Hook(label) => label,
        }
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guard(label) => write!(f, "drain guard {label:?}"),
            Self::Hook(label) => write!(f, "hook {label:?}"),
        }
    }
}

/// By number.
#[derive(Debug, Default)]
struct Beacons {
    lit: Vec<(u64, Blocker)>,
    count: u64,
}

#[derive(Debug)]
pub(crate) struct Arena {
    /// Read at every request, written ten times a second.
    tick: Apart<AtomicU32>,
    orders: AtomicU32,
    next_id: AtomicU64,
    shards: Box<[Apart<Mutex<Shard>>]>,
    parked: Box<[Apart<Mutex<Parked>>]>,
    /// One cell a thread for requests whose connection is not known. Set once, for they point back here.
    loose: OnceLock<Box<[Apart<Cell>]>>,
    /// Holds the guards of requests that an outer layer counts. No sum includes it. Made by the first such request.
    elsewhere: OnceLock<Box<Cell>>,
    /// Whoever leases it.
    owner: Mutex<Weak<Lease>>,
    bell: Bell,
    /// Keeps the tracker for requests that outlive their layer.
    loose_bell: Bell,
    /// How long to read from a connection that we closed, in milliseconds.
    linger: AtomicU32,
    /// How long savers may take at the cutoff, in milliseconds.
    saving: AtomicU32,
    /// Answers of a lame duck and later ones tell Envoy so. 0 or 1.
    envoy: AtomicU32,
    beacons: Mutex<Beacons>,
    /// Requests that ended without a whole answer, and not by the cutoff.
    failed: AtomicU64,
}

impl Arena {
    /// An arena nobody uses: from the pool, else a new one.
    pub(crate) fn lease() -> &'static Self {
        let mut pool = lock(pool::get());
        match pool.iter().position(|arena| arena.is_free()) {
            Some(at) => {
                let arena = pool.swap_remove(at);
                drop(pool);
                arena.reset();
                arena
            }
            None => Self::leak(if cfg!(graceful_loom) {
                1
            } else {
                parallelism()
            }),
        }
    }

    /// Gives the arena back. What is still alive in it keeps it from being leased until it has gone.
    pub(crate) fn give_back(&'static self) {
        self.bell.forget();
        lock(pool::get()).push(self);
    }

    /// `shards` is a power of two, so that a thread's is found without a division.
    fn leak(shards: usize) -> &'static Self {
        let arena: &'static Self = Box::leak(Box::new(Self {
            tick: Apart(AtomicU32::new(0)),
            orders: AtomicU32::new(0),
            next_id: AtomicU64::new(1),
            shards: (0..shards)
                .map(|_| Apart(Mutex::new(Shard::default())))
                .collect(),
            parked: (0..shards)
                .map(|_| Apart(Mutex::new(Parked::default())))
                .collect(),
            loose: OnceLock::new(),
            elsewhere: OnceLock::new(),
            owner: Mutex::new(Weak::new()),
            bell: Bell::new(),
            loose_bell: Bell::new(),
            linger: AtomicU32::new(LINGER),
            saving: AtomicU32::new(0),
            beacons: Mutex::new(Beacons::default()),
            envoy: AtomicU32::new(0),
            failed: AtomicU64::new(0),
        }));
        arena
            .loose
            .get_or_init(|| (0..shards).map(|_| Apart(Cell::new(arena))).collect());
        arena
    }

    fn is_free(&self) -> bool {
        let free = |shard: &Shard| shard.live == 0 && shard.lingering.iter().all(|c| c.is_free());
        lock(&self.beacons).lit.is_empty()
            && self.loose().iter().all(|cell| cell.0.in_flight() == 0)
            && self.shards.iter().all(|shard| free(&lock(&shard.0)))
    }

    fn reset(&'static self) {
        self.tick.0.store(0, Relaxed);
        self.orders.store(0, Relaxed);
        self.next_id.store(1, Relaxed);
        self.linger.store(LINGER, Relaxed);
        self.envoy.store(0, Relaxed);
        self.failed.store(0, Relaxed);
        for cell in self.loose() {
            cell.0.reset();
        }
        for shard in &self.shards {
            let mut shard = lock(&shard.0);
            let lingering = std::mem::take(&mut shard.lingering);
            shard.free.extend(lingering);
            (shard.opened, shard.requests) = (0, 0);
        }
    }

    pub(crate) fn own(&self, owner: Weak<Lease>) {
        *lock(&self.owner) = owner;
    }

    pub(crate) fn owner(&self) -> Weak<Lease> {
        lock(&self.owner).clone()
    }

    /// Where this thread's requests wait.
    pub(super) fn parked(&'static self) -> &'static Mutex<Parked> {
        &self.parked[thread_index() & (self.parked.len() - 1)].0
    }

    fn loose(&self) -> &[Apart<Cell>] {
        self.loose.get().map_or(&[], |cells| cells)
    }

    // The clock: milliseconds since the lease, as of the last tick.

    #[inline]
    pub(crate) fn tick(&self) -> u32 {
        self.tick.0.load(Relaxed)
    }

    pub(crate) fn set_tick(&self, ms: u32) {
        self.tick.0.store(ms, Relaxed);
    }

    // Requests and connections.

    /// The cell that counts this thread's requests.
    #[inline]
    pub(crate) fn loose_cell(&'static self) -> &'static Cell {
        let cells = self.loose();
        &cells[thread_index() & (cells.len() - 1)].0
    }

    /// Takes a connection into the tracker, told of whatever has been ordered so far (invariant 4).
    pub(crate) fn open(&'static self, peer: Peer) -> Part {
        let home = thread_index() & (self.shards.len() - 1);
        let mut shard = lock(&self.shards[home].0);
        let cell = shard.take_cell(self);
        shard.live += 1;
        shard.opened += 1;
        let id = self.next_id.fetch_add(1, Relaxed);
        cell.open(id, home as u8, peer, self.orders().of_new_connection())
    }

    /// The last part of `cell`'s connection has gone (invariants 2 and 6).
    pub(super) fn release(&'static self, cell: &'static Cell) {
        cell.forget_waker();
        let mut shard = lock(&self.shards[cell.home()].0);
        shard.live -= 1;
        shard.requests += cell.begun_here();
        let last = shard.live == 0;
        match cell.in_flight() {
            0 => shard.free.push(cell),
            _ => shard.lingering.push(cell),
        }
        drop(shard);
        if last {
            self.bell.ring();
        }
    }

    /// Connections, requests that outlive or lack theirs, beacons. Zero stays zero once nothing can begin any more.
    pub(crate) fn outstanding(&self) -> usize {
        let mut count = lock(&self.beacons).lit.len();
        count += self
            .loose()
            .iter()
            .map(|cell| cell.0.count_and_tell())
            .sum::<usize>();
        for shard in &self.shards {
            let mut shard = lock(&shard.0);
            shard.reclaim(Cell::count_and_tell);
            count += shard.live + shard.lingering.len();
        }
        count
    }

    /// Ready when nothing is outstanding. For one waiter at a time.
    pub(crate) fn poll_empty(&self, cx: &Context<'_>) -> Poll<()> {
        // Registered before looked at: whoever goes after the look rings.
        self.bell.register(cx.waker());
        match self.outstanding() {
            0 => self.bell.forget(),
            _ => return Poll::Pending,
        }
        Poll::Ready(())
    }

    pub(crate) fn elsewhere(&'static self) -> &'static Cell {
        self.elsewhere.get_or_init(|| Box::new(Cell::new(self)))
    }

    pub(crate) fn has_loose_in_flight(&self) -> bool {
        self.loose().iter().any(|cell| cell.0.in_flight() > 0)
    }

    /// Ready when no request is in flight whose connection is not known. For one waiter at a time; the waiter of
    /// [`poll_empty`](Self::poll_empty) is another.
    pub(crate) fn poll_loose_over(&self, cx: &Context<'_>) -> Poll<()> {
        // Registered before looked at, as there.
        self.loose_bell.register(cx.waker());
        let counts = self.loose().iter().map(|cell| cell.0.count_and_tell());
        match counts.sum::<usize>() {
            0 => self.loose_bell.forget(),
            _ => return Poll::Pending,
        }
        Poll::Ready(())
    }

    /// Wakes both waiters to count again: the last request of a cell has ended.
    #[cold]
    pub(super) fn ring(&self) {
        self.bell.ring();
        self.loose_bell.ring();
    }

    /// Requests in flight, on connections and off them.
    pub(crate) fn in_flight(&self) -> usize {
        let mut count = 0;
        self.walk_all(|cell| count += cell.in_flight());
        count
    }

    /// Connections opened and requests begun since the lease.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let mut opened = 0;
        let mut requests = self.loose().iter().map(|cell| cell.0.begun_here()).sum();
        for shard in &self.shards {
            let shard = lock(&shard.0);
            opened += shard.opened;
            requests += shard.requests;
            let chunks = shard.chunks.iter().flat_map(|chunk| chunk.iter());
            requests += chunks
                .filter(|cell| cell.is_live())
                .map(Cell::begun_here)
                .sum::<u64>();
        }
        (opened, requests)
    }

    /// Visits every live connection that was there at the call, without holding a lock at the visit.
    pub(crate) fn walk(&self, mut visit: impl FnMut(&'static Cell)) {
        for shard in &self.shards {
            let chunks = lock(&shard.0).chunks.clone();
            for cell in chunks.into_iter().flatten().filter(|cell| cell.is_live()) {
                visit(cell);
            }
        }
    }

    /// Like `walk`, with the cells that count requests off connections: loose ones and lingering ones.
    fn walk_all(&self, mut visit: impl FnMut(&Cell)) {
        self.loose().iter().for_each(|cell| visit(&cell.0));
        for shard in &self.shards {
            let chunks = lock(&shard.0).chunks.clone();
            chunks.into_iter().flatten().for_each(&mut visit);
        }
    }

    // Orders.

    pub(crate) fn orders(&self) -> Orders {
        Orders(self.orders.load(Acquire))
    }

    /// Sets the orders of a phase for everything there is and will be. `ramp` gives each connection its own share.
    pub(crate) fn order(&self, orders: Orders, ramp: impl Fn(&Cell) -> u8) {
        self.change_orders(|old| orders.0 | old & Orders::MOVE);
        self.loose()
            .iter()
            .for_each(|cell| cell.0.order_phase(orders));
        self.walk(|cell| cell.order_phase(Orders::new(orders.phase(), ramp(cell))));
    }

    /// The last phase for everything there is and will be, and the cut for every connection there is, in one walk.
    pub(crate) fn abort(&self) {
        let closed = Orders::new(Phase::Closed, 0);
        self.change_orders(|old| closed.0 | old & Orders::MOVE);
        self.loose()
            .iter()
            .for_each(|cell| cell.0.order_phase(closed));
        self.walk(|cell| cell.order_phase(Orders(closed.0 | Orders::CUT)));
    }

    /// Whether connections go to a successor when they are idle, those there are and those to come.
    pub(crate) fn order_moves(&self, on: bool) {
        self.change_orders(|old| {
            if on {
                old | Orders::MOVE
            } else {
                old & !Orders::MOVE
            }
        });
        self.walk(|cell| cell.order_move(on));
    }

    fn change_orders(&self, change: impl Fn(u32) -> u32) {
        let changed = |old| Some(change(old));
        let _ = self.orders.fetch_update(Release, Relaxed, changed);
    }

    /// Cuts the requests whose connection is not known here: theirs nobody can drop.
    pub(crate) fn cut_loose(&self) {
        self.loose()
            .iter()
            .for_each(|cell| cell.0.order(|old| old | Orders::CUT));
    }

    /// Wakes the requests that nobody else wakes, to read their orders.
    pub(crate) fn wake_parked(&self) {
        self.parked
            .iter()
            .for_each(|parked| parked::wake(&parked.0));
    }

    /// Shows every request that waits.
    pub(crate) fn show_parked(&self, mut show: impl FnMut(&Line)) {
        self.parked
            .iter()
            .for_each(|parked| parked::show(&parked.0, &mut show));
    }

    pub(crate) fn tells_envoy(&self) -> bool {
        self.envoy.load(Relaxed) != 0
    }

    pub(crate) fn set_tell_envoy(&self, tell: bool) {
        self.envoy.store(tell.into(), Relaxed);
    }

    pub(crate) fn note_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    pub(crate) fn linger(&self) -> Duration {
        Duration::from_millis(self.linger.load(Relaxed).into())
    }

    pub(crate) fn saving(&self) -> Duration {
        Duration::from_millis(self.saving.load(Relaxed).into())
    }

    pub(crate) fn set_bounds(&self, linger: Duration, saving: Duration) {
        let ms = |bound: Duration| u32::try_from(bound.as_millis()).unwrap_or(u32::MAX);
        self.linger.store(ms(linger), Relaxed);
        self.saving.store(ms(saving), Relaxed);
    }

    // Beacons: they hold the drain like a connection does.

    pub(crate) fn light(&self, blocker: Blocker) -> u64 {
        let mut beacons = lock(&self.beacons);
        beacons.count += 1;
        let id = beacons.count;
        beacons.lit.push((id, blocker));
        id
    }

    pub(crate) fn put_out(&self, id: u64) {
        lock(&self.beacons).lit.retain(|beacon| beacon.0 != id);
        self.bell.ring();
    }

    pub(crate) fn beacons(&self) -> Vec<Blocker> {
        lock(&self.beacons)
            .lit
            .iter()
            .map(|beacon| beacon.1.clone())
            .collect()
    }
}

#[cfg(all(test, not(graceful_loom)))]
mod tests {
    use super::*;

    #[test]
    fn threads_count_on_lines_of_their_own() {
        let arena = Arena::leak(2);
        let place = || std::ptr::from_ref(arena.loose_cell()).addr();
        // Threads are numbered one after the other, so two that follow each other use different cells.
        let places: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(move || (thread_index(), place()))
                    .join()
                    .unwrap()
            })
            .collect();
        for (one, other) in places.iter().zip(&places[1..]) {
            let same_cell = one.0 % 2 == other.0 % 2;
            assert_eq!(one.1 == other.1, same_cell);
            assert!(
                same_cell || one.1.abs_diff(other.1) >= 128,
                "on one line: {one:?} {other:?}"
            );
        }
        assert!(
            places.iter().any(|place| place.1 != places[0].1),
            "all on one cell"
        );
    }
}
