//! Models of the invariants in `mod.rs`, over every interleaving.
//!
//! Run with `RUSTFLAGS="--cfg graceful_loom" cargo test -p graceful-layer --lib --release`. The faults they are known to
//! find are the patches in `faults/`; `.ci/faults` checks that each still makes one fail.

use std::{
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Wake, Waker},
};

use loom::thread;

use super::{Arena, Blocker, Cell, Orders, RequestGuard};
use crate::{Beacon, Phase, conn::Peer, sync::Ordering::SeqCst};

/// A waker that remembers. Not modelled itself: it is looked at only when all threads have ended.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

fn woken() -> (Arc<Woken>, Waker) {
    let woken = Arc::new(Woken::default());
    (woken.clone(), woken.into())
}

fn begin(cell: &'static Cell) -> RequestGuard {
    cell.count_in();
    RequestGuard::of(cell)
}

fn begin_draining(arena: &'static Arena) {
    arena.order(Orders::new(Phase::Draining, 0), |_| 0);
}

/// What the drain does at each of its polls. Returns whether it is over.
fn look(arena: &'static Arena, waker: &Waker) -> bool {
    arena.poll_empty(&Context::from_waker(waker)).is_ready()
}

#[test]
fn a_connection_accepted_in_the_same_instant_is_told() {
    loom::model(|| {
        let arena = Arena::lease();
        let accept = thread::spawn(move || arena.open(Peer::Unknown));
        begin_draining(arena);
        let part = accept.join().unwrap();
        assert_eq!(part.cell().orders().phase(), Phase::Draining);
    });
}

#[test]
fn an_order_is_seen_or_wakes() {
    loom::model(|| {
        let arena = Arena::lease();
        let part = arena.open(Peer::Unknown);
        let (flag, waker) = woken();
        let order = thread::spawn(move || begin_draining(arena));
        let seen = part.cell().listen(&waker).phase() == Phase::Draining;
        order.join().unwrap();
        assert!(
            seen || flag.0.load(SeqCst),
            "the connection sleeps through the drain"
        );
    });
}

/// What is made by `hold` is dropped on a thread of its own while the drain looks for the end.
fn the_last_to_go_wakes_the_waiter<T: 'static>(
    hold: impl Fn(&'static Arena) -> T + Sync + Send + 'static,
) {
    the_last_to_go_wakes(look, hold);
}

/// The same for a waiter that waits with `look`.
fn the_last_to_go_wakes<T: 'static>(
    look: fn(&'static Arena, &Waker) -> bool,
    hold: impl Fn(&'static Arena) -> T + Sync + Send + 'static,
) {
    loom::model(move || {
        let arena = Arena::lease();
        let held = hold(arena);
        let (flag, waker) = woken();
        let end = thread::spawn(move || drop(held));
        let over = look(arena, &waker);
        end.join().unwrap();
        assert!(
            over || flag.0.load(SeqCst),
            "the drain sleeps through its end"
        );
        assert_eq!(arena.outstanding(), 0);
    });
}

#[test]
fn the_last_request_off_connections_wakes_the_waiter() {
    the_last_to_go_wakes_the_waiter(|arena| begin(arena.loose_cell()));
}

#[test]
fn the_last_request_off_connections_releases_its_tracker() {
    let look = |arena: &'static Arena, waker: &Waker| {
        let polled = arena.poll_loose_over(&Context::from_waker(waker));
        polled.is_ready()
    };
    the_last_to_go_wakes(look, |arena| begin(arena.loose_cell()));
}

#[test]
fn the_last_connection_wakes_the_waiter() {
    the_last_to_go_wakes_the_waiter(|arena| arena.open(Peer::Unknown));
}

#[test]
fn the_last_beacon_wakes_the_waiter() {
    the_last_to_go_wakes_the_waiter(|arena| Beacon::new(arena, Blocker::Guard("job".into())));
}

#[test]
fn a_request_that_outlives_its_connection_is_waited_for() {
    loom::model(|| {
        let arena = Arena::lease();
        let part = arena.open(Peer::Unknown);
        let cell = part.cell();
        let guard = begin(cell);
        let (flag, waker) = woken();
        let connection = thread::spawn(move || drop(part));
        let request = thread::spawn(move || drop(guard));
        let over = look(arena, &waker);
        connection.join().unwrap();
        // Woken once, it looks again, as the drain does.
        let over = over || look(arena, &waker);
        assert!(
            !over || cell.in_flight() == 0,
            "over with a request in flight"
        );
        request.join().unwrap();
        assert!(
            over || flag.0.load(SeqCst),
            "the drain sleeps through its end"
        );
        assert_eq!(arena.outstanding(), 0);
        assert_eq!(arena.totals(), (1, 1));
    });
}

#[test]
fn a_request_is_counted_before_the_phase_is_looked_at() {
    loom::model(|| {
        let arena = Arena::lease();
        let request = thread::spawn(move || {
            let cell = arena.loose_cell();
            let guard = begin(cell);
            let told = cell.orders().phase() == Phase::Draining;
            (guard, told)
        });
        begin_draining(arena);
        let (_, waker) = woken();
        let over = look(arena, &waker);
        let (guard, told) = request.join().unwrap();
        assert!(
            told || !over,
            "a request that was not told was not waited for either"
        );
        drop(guard);
    });
}

#[test]
fn a_cell_is_not_given_away_while_a_request_is_in_flight_on_it() {
    loom::model(|| {
        let arena = Arena::lease();
        // Both cells of the first chunk, so that the next connection needs one of them or a new chunk.
        let (first, second) = (arena.open(Peer::Unknown), arena.open(Peer::Unknown));
        let cell = first.cell();
        let guard = begin(cell);
        let close = thread::spawn(move || drop(first));
        let next = arena.open(Peer::Unknown);
        close.join().unwrap();
        assert!(!std::ptr::eq(next.cell(), cell));
        assert_eq!(cell.in_flight(), 1);
        drop((guard, next, second));
        assert_eq!(arena.outstanding(), 0);
    });
}
