//! One cell: the count, the life, the orders and the waker of a connection (laws 2, 3 and 14).

use std::{fmt, task::Waker};

mod detach;
mod noted;
mod parts;

use self::noted::{HELD, OWED, READ};
pub use self::parts::RequestGuard;
pub(crate) use self::parts::{IoPart, Part};
use super::{Arena, Orders};
use crate::{
    conn::{ConnState, Packed, Peer},
    phase::Phase,
    sync::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Mutex, Ordering::*, lock},
};

const ONE_IN_FLIGHT: u64 = 1;
const IN_FLIGHT: u64 = (1 << 24) - 1;
const ONE_BEGUN: u64 = 1 << 24;

const ONE_PART: u32 = 1;
const PARTS: u32 = (1 << 24) - 1;
const IO_OPEN: u32 = 1 << 24;
const HANDSHAKING: u32 = 1 << 25;
const HIJACKED: u32 = 1 << 26;
const HTTP2: u32 = 1 << 27;
const GOING_AWAY: u32 = 1 << 28;
const MOVABLE: u32 = 1 << 29;
/// It was to move and could not: it stays, whatever the orders say, until they say it anew.
const STAYS: u32 = 1 << 30;
/// The connection's task takes its stream out of its HTTP/1 server when that is due.
const DETACHES: u32 = 1 << 31;

#[derive(Default)]
struct Cold {
    waker: Option<Waker>,
    peer: Packed,
}

/// What a request touches is first, and all of it on one line of the cache: 96 bytes have their beginning in any third of one.
#[repr(C, align(32))]
pub(crate) struct Cell {
    arena: &'static Arena,
    word: AtomicU64,
    orders: AtomicU32,
    since: AtomicU32,
    life: AtomicU32,
    io: AtomicU8,
    home: AtomicU8,
    listener: AtomicU16,
    id: AtomicU64,
    opened: AtomicU32,
    /// Requests that other processes have answered on the connection, before it moved here.
    carried: AtomicU32,
    cold: Mutex<Cold>,
}

impl Cell {
    pub(super) fn new(arena: &'static Arena) -> Self {
        Self {
            arena,
            word: AtomicU64::new(0),
            id: AtomicU64::new(0),
            life: AtomicU32::new(0),
            orders: AtomicU32::new(0),
            opened: AtomicU32::new(0),
            since: AtomicU32::new(0),
            carried: AtomicU32::new(0),
            io: AtomicU8::new(0),
            home: AtomicU8::new(0),
            listener: AtomicU16::new(0),
            cold: Mutex::new(Cold::default()),
        }
    }

    /// Counts one request in, for whoever counts it out again: a [`RequestGuard`], or a head.
    #[inline]
    pub(crate) fn count_in(&self) {
        self.word.fetch_add(ONE_BEGUN | ONE_IN_FLIGHT, AcqRel);
    }

    /// Whether it counts requests that an outer layer counts too: no sum includes it.
    pub(crate) fn is_elsewhere(&'static self) -> bool {
        std::ptr::eq(self, self.arena.elsewhere())
    }

    /// Removes a request that is in flight from the requests begun: an outer layer has counted it.
    pub(crate) fn take_begun_back(&self) {
        self.word.fetch_sub(ONE_BEGUN, AcqRel);
    }

    #[inline]
    pub(crate) fn count_out(&self) {
        self.touch();
        let before = self.word.fetch_sub(ONE_IN_FLIGHT, AcqRel) & IN_FLIGHT;
        if before == 1 && self.orders().says(Orders::TELL) {
            self.arena.ring();
        }
    }

    #[inline]
    pub(crate) fn in_flight(&self) -> usize {
        (self.word.load(Acquire) & IN_FLIGHT) as usize
    }

    /// Requests begun, in this process and in those that the connection was moved from.
    pub(crate) fn begun(&self) -> u64 {
        self.begun_here() + u64::from(self.carried.load(Relaxed))
    }

    pub(super) fn begun_here(&self) -> u64 {
        self.word.load(Relaxed) / ONE_BEGUN
    }

    /// The connection was another process's, which has begun `requests` on it.
    pub(crate) fn carry(&self, requests: u64) {
        let requests = u32::try_from(requests).unwrap_or(u32::MAX);
        self.carried.store(requests, Relaxed);
    }

    pub(crate) fn arena(&self) -> &'static Arena {
        self.arena
    }

    pub(crate) fn id(&self) -> u64 {
        self.id.load(Relaxed)
    }

    /// The number that its accept loop gave to its listener.
    pub(crate) fn listener(&self) -> u16 {
        self.listener.load(Relaxed)
    }

    pub(crate) fn set_listener(&self, listener: u16) {
        self.listener.store(listener, Relaxed);
    }

    /// Milliseconds of the arena's clock at which the connection was opened.
    pub(crate) fn opened(&self) -> u32 {
        self.opened.load(Relaxed)
    }

    /// Milliseconds of the arena's clock since which its state is what it is.
    pub(crate) fn since(&self) -> u32 {
        self.since.load(Relaxed)
    }

    pub(crate) fn peer(&self) -> Peer {
        lock(&self.cold).peer.into()
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.life.load(Relaxed) & HTTP2 != 0
    }

    pub(crate) fn set_http2(&self) {
        if !self.is_http2() {
            self.life.fetch_or(HTTP2, Relaxed);
            self.io.fetch_and(!(READ | OWED), Relaxed);
        }
    }

    /// Whether the connection future was told to send its GOAWAY.
    pub(crate) fn is_going_away(&self) -> bool {
        self.life.load(Relaxed) & GOING_AWAY != 0
    }

    pub(crate) fn set_going_away(&self) {
        self.life.fetch_or(GOING_AWAY, Relaxed);
    }

    fn set_life(&self, mark: u32, on: bool) {
        match on {
            true => self.life.fetch_or(mark, Relaxed),
            false => self.life.fetch_and(!mark, Relaxed),
        };
    }

    pub(crate) fn set_handshaking(&self, on: bool) {
        self.set_life(HANDSHAKING, on);
        self.touch();
    }

    /// The connection's state, derived from what is stored: nothing of it is stored twice.
    pub(crate) fn state(&self) -> ConnState {
        let life = self.life.load(Acquire);
        let io = self.io.load(Relaxed);
        match () {
            () if life & PARTS == 0 => ConnState::Closed,
            () if life & HIJACKED != 0 => ConnState::Hijacked,
            () if life & HANDSHAKING != 0 => ConnState::Handshaking,
            () if self.in_flight() > 0 || io & (READ | OWED) != 0 => ConnState::Active,
            () if self.begun() > 0 => ConnState::Idle,
            () => ConnState::New,
        }
    }

    /// Whether bytes have arrived that are no request yet, and that are not known to be a body.
    pub(crate) fn is_mid_head(&self) -> bool {
        self.io.load(Relaxed) & (READ | HELD) == READ && self.in_flight() == 0
    }

    // Orders.

    #[inline]
    pub(crate) fn orders(&self) -> Orders {
        Orders(self.orders.load(Acquire))
    }

    /// Changes the orders and wakes the connection to read them (invariant 5), if they are new.
    pub(crate) fn order(&self, change: impl Fn(u32) -> u32) {
        let old = self.change_orders(&change);
        if change(old) == old {
            return;
        }
        // With the lock held: a clone would be two more steps on the line of a task, for each of a million. No waker polls.
        if let Some(waker) = &lock(&self.cold).waker {
            waker.wake_by_ref();
        }
    }

    /// Whether it goes to a successor when it is idle. If no longer, it has its whole idle grace from here.
    pub(super) fn order_move(&self, on: bool) {
        match on {
            true => _ = self.life.fetch_and(!STAYS, Relaxed),
            false if self.orders().says(Orders::MOVE) => self.touch(),
            false => {}
        }
        self.order(|old| {
            if on {
                old | Orders::MOVE
            } else {
                old & !Orders::MOVE
            }
        });
    }

    /// Replaces phase and ramp; `CLOSE` stays only while draining, `TELL` and `MOVE` always.
    pub(crate) fn order_phase(&self, orders: Orders) {
        let kept = match orders.phase() {
            Phase::Serving | Phase::LameDuck => Orders::TELL | Orders::MOVE,
            _ => Orders::TELL | Orders::MOVE | Orders::CLOSE | Orders::CUT,
        };
        self.order(|old| orders.0 | old & kept);
    }

    fn change_orders(&self, change: impl Fn(u32) -> u32) -> u32 {
        let mut old = self.orders.load(Relaxed);
        loop {
            match self
                .orders
                .compare_exchange_weak(old, change(old), AcqRel, Relaxed)
            {
                Ok(_) => return old,
                Err(now) => old = now,
            }
        }
    }

    /// Keeps the waker of the task that must hear of orders, and returns the orders as they are after that.
    pub(crate) fn listen(&self, waker: &Waker) -> Orders {
        let replaced = lock(&self.cold).waker.replace(waker.clone());
        // Dropped with the lock free: the last waker of a task drops the task and all it holds.
        drop(replaced);
        self.orders()
    }

    /// In flight after a `TELL` mark: whoever brings it to zero rings the arena's bell (invariant 6).
    pub(super) fn count_and_tell(&self) -> usize {
        self.change_orders(|old| old | Orders::TELL);
        // A read-modify-write, for it reads the last value there is: either it sees the request's end, or the end
        // comes after it and sees the mark.
        (self.word.fetch_add(0, AcqRel) & IN_FLIGHT) as usize
    }

    // The life, driven by the arena.

    /// Gives the cell to a new connection. Only for a cell without parts and requests, under its shard's lock.
    pub(super) fn open(&'static self, id: u64, home: u8, peer: Peer, orders: Orders) -> Part {
        let now = self.arena.tick();
        self.id.store(id, Relaxed);
        self.home.store(home, Relaxed);
        self.listener.store(0, Relaxed);
        self.opened.store(now, Relaxed);
        self.since.store(now, Relaxed);
        self.carried.store(0, Relaxed);
        self.io.store(0, Relaxed);
        self.word.store(0, Relaxed);
        self.orders.store(orders.0, Relaxed);
        *lock(&self.cold) = Cold {
            waker: None,
            peer: peer.into(),
        };
        self.life.store(ONE_PART, Release);
        Part { cell: self }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.life.load(Acquire) & PARTS != 0
    }

    pub(super) fn is_free(&self) -> bool {
        !self.is_live() && self.in_flight() == 0
    }

    /// The shard it was opened in.
    pub(super) fn home(&self) -> usize {
        self.home.load(Relaxed).into()
    }

    pub(super) fn forget_waker(&self) {
        let forgotten = lock(&self.cold).waker.take();
        drop(forgotten);
    }

    /// Zero counts and no orders, for a cell that belongs to no connection, when its arena is leased again.
    pub(super) fn reset(&self) {
        self.word.store(0, Relaxed);
        self.orders.store(0, Relaxed);
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell")
            .field("id", &self.id())
            .field("state", &self.state())
            .field("in_flight", &self.in_flight())
            .field("orders", &self.orders())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(graceful_loom)))]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn a_connection_costs_96_bytes() {
        assert!(size_of::<Cell>() <= 96, "{}", size_of::<Cell>());
    }

    #[test]
    fn what_a_request_touches_is_on_one_line_of_the_cache() {
        let third = align_of::<Cell>();
        assert_eq!(
            64 % third,
            0,
            "a third is on one line wherever a cell begins"
        );
        assert!(
            offset_of!(Cell, id) <= third,
            "and all of it is in the first"
        );
    }
}
