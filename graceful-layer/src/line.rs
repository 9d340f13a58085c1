//! What a request in flight is called: its request line, and where and when it came.

use std::time::Duration;

use http::{Method, Request, Version, uri::PathAndQuery};

use crate::state::Cell;

/// Bytes of a target.
const LONG: usize = 512;

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) method: Method,
    /// Copied: a clone of the URI would hold the server's whole read buffer, which could not be used again meanwhile.
    target: String,
    pub(crate) version: Version,
    /// Its answer has begun.
    pub(crate) answering: bool,
    /// On the arena's clock.
    begun: u32,
    cell: &'static Cell,
}

impl Line {
    /// Of no request; [`note`](Self::note) makes it one.
    pub(crate) fn blank(cell: &'static Cell) -> Self {
        Self {
            method: Method::GET,
            target: String::new(),
            version: Version::HTTP_11,
            answering: false,
            begun: 0,
            cell,
        }
    }

    /// Becomes the line of `request`, in the place that the last one's target has had.
    #[inline(always)]
    pub(crate) fn note<B>(&mut self, request: &Request<B>, cell: &'static Cell) {
        let target = request.uri().path_and_query();
        self.target.clear();
        self.target
            .push_str(target.map_or("*", PathAndQuery::as_str));
        self.method.clone_from(request.method());
        self.version = request.version();
        self.answering = false;
        self.begun = cell.arena().tick();
        self.cell = cell;
    }

    /// Becomes the same as `other`, in the place that the last one's target has had.
    pub(crate) fn copy(&mut self, other: &Self) {
        self.target.clone_from(&other.target);
        self.method.clone_from(&other.method);
        self.version = other.version;
        self.answering = other.answering;
        self.begun = other.begun;
        self.cell = other.cell;
    }

    /// The request is counted at `cell` from now on.
    pub(crate) fn count_at(&mut self, cell: &'static Cell) {
        self.cell = cell;
    }

    /// Whether it takes too much memory to be kept for a next one.
    #[inline]
    pub(crate) fn is_long(&self) -> bool {
        self.target.capacity() > LONG
    }

    /// The path without the query, which may carry secrets.
    pub(crate) fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(&self.target, |(path, _)| path)
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    #[inline]
    pub(crate) fn cell(&self) -> &'static Cell {
        self.cell
    }

    /// How long ago it came, to a tenth of a second.
    pub(crate) fn age(&self) -> Duration {
        let now = self.cell.arena().tick();
        Duration::from_millis(now.saturating_sub(self.begun).into())
    }
}
