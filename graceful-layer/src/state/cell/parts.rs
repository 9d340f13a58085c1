//! What holds a cell: requests, and the parts of a connection (invariants 1 and 2).

use std::fmt;

use super::{Arena, Cell, HIJACKED, IO_OPEN, ONE_PART, PARTS};
use crate::sync::Ordering::*;

/// One request in flight. It is let go when this is dropped, wherever that happens.
///
/// Made by the services of this crate; public because it is the handle that a
/// [`TrackCompletion`](tower::load::completion::TrackCompletion) of yours receives.
#[must_use = "the request is let go when this is dropped"]
pub struct RequestGuard {
    cell: &'static Cell,
}

impl RequestGuard {
    /// Of a request that was counted in.
    #[inline]
    pub(crate) fn of(cell: &'static Cell) -> Self {
        Self { cell }
    }

    /// Removes the request from the counts if an outer layer counts it in the same arena.
    pub(crate) fn step_back(self, is_counted: impl FnOnce(&'static Arena) -> bool) -> Self {
        let cell = self.cell;
        if !is_counted(cell.arena()) {
            return self;
        }
        let elsewhere = cell.arena().elsewhere();
        elsewhere.count_in();
        cell.take_begun_back();
        Self::of(elsewhere)
    }
}

impl Drop for RequestGuard {
    #[inline]
    fn drop(&mut self) {
        self.cell.count_out();
    }
}

impl fmt::Debug for RequestGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestGuard").finish_non_exhaustive()
    }
}

/// Something that keeps a connection in the tracker (law 2).
#[derive(Debug)]
pub(crate) struct Part {
    pub(super) cell: &'static Cell,
}

impl Part {
    pub(crate) fn cell(&self) -> &'static Cell {
        self.cell
    }

    /// The part that is the connection's I/O.
    pub(crate) fn io(&self) -> IoPart {
        self.cell.life.fetch_or(IO_OPEN, Relaxed);
        IoPart(self.clone())
    }

    /// The connection future ended. Returns whether its I/O lives on: it was upgraded.
    pub(crate) fn ended(&self) -> bool {
        let hijacked = self.cell.life.load(Acquire) & IO_OPEN != 0;
        if hijacked {
            self.cell.life.fetch_or(HIJACKED, Relaxed);
            self.cell.touch();
        }
        hijacked
    }
}

impl Clone for Part {
    fn clone(&self) -> Self {
        self.cell.life.fetch_add(ONE_PART, Relaxed);
        Self { cell: self.cell }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.cell.life.fetch_sub(ONE_PART, AcqRel) & PARTS == ONE_PART {
            self.cell.arena.release(self.cell);
        }
    }
}

/// The part that is the connection's I/O: while it is there, the socket is open.
#[derive(Debug)]
pub(crate) struct IoPart(Part);

impl IoPart {
    pub(crate) fn cell(&self) -> &'static Cell {
        self.0.cell
    }

    pub(crate) fn is_hijacked(&self) -> bool {
        self.0.cell.life.load(Relaxed) & HIJACKED != 0
    }
}

impl Drop for IoPart {
    fn drop(&mut self) {
        self.0.cell.life.fetch_and(!IO_OPEN, AcqRel);
    }
}
