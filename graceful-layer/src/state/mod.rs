//! Every atomic of the tracker: cells, the arena they live in, and the bell of whoever waits for the end.
//!
//! A *cell* counts requests for one place: a connection, or one thread of a service whose connections
//! nobody knows. Cells live in an *arena*, which a tracker leases from a process-wide pool and gives back;
//! neither is ever freed, so a request can hold a plain `&'static Cell` and pay for nothing but its count.
//!
//! # Invariants
//!
//! 1. `Cell::word` counts requests in flight (low 24 bits) and requests begun (high 40 bits); both change
//!    only in `Cell::begin` and `RequestGuard::drop`, by one read-modify-write each.
//! 2. A cell belongs to a connection while it has *parts* (`Cell::life`): the handle, the I/O, the service,
//!    the connection future. The last part to go gives the cell back to its arena, exactly once, because
//!    a part is made only from a part or, under the shard's lock, from a cell without any.
//! 3. A cell is handed out again only with no part and nothing in flight; in between it is *lingering*.
//! 4. *Nobody misses an order.* The arena's orders are stored before a walk takes any shard lock, and a cell
//!    copies them under that lock when it is opened: a connection is either walked or born told.
//! 5. *No order is slept through.* An order is stored before the cell's waker is taken, and a connection
//!    reads its orders after it has stored its waker, both under the cell's lock.
//! 6. *The last one wakes the waiter.* The waiter marks a cell `TELL` and then reads its count by a
//!    read-modify-write; a request lowers the count and then reads the mark. Whichever comes second on the count
//!    sees what the other did. A shard's connections ring when the last has gone, counted under the lock that the
//!    waiter counts under. For the same reason a request that begins is either told or waited for.
//! 7. `Cell::io` and `Cell::since` are written by plain stores of the one task that drives the connection
//!    (`since` also at the end of a request, and `OWED` of `io` by read-modify-writes of an HTTP/2 connection's streams);
//!    nothing is decided on them across threads but *when* to ask.
//! 8. *Moving is an order like any other* (4 and 5 hold for `Orders::MOVE`), and independent of the phase: a phase keeps
//!    it. Only the connection's own task acts on it, and only while the cell is quiet; `UNTOUCHED` is its own note.
//!    `Orders::DETACH` is another, which no phase keeps. The task withdraws it and `CLOSE` when bytes arrive.
//! 9. A request that waits has a *place* among the parked; one that is not polled by its connection's task is woken there
//!    at the cutoff.
//!
//! The models are in `loom.rs`, and the list of faults that each make one fail in ARCHITECTURE.md.

mod arena;
mod bell;
mod cell;
#[cfg(all(test, graceful_loom))]
mod loom;
mod orders;
mod parked;

pub(crate) use arena::{Arena, Blocker};
pub use cell::RequestGuard;
pub(crate) use cell::{Cell, IoPart, Part};
pub(crate) use orders::Orders;
pub(crate) use parked::Place;
