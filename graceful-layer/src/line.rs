//! What a request in flight is called: its request line, and where and when it came.

use std::time::Duration;

use http::{Method, Request, Version, uri::PathAndQuery};
use smallvec::SmallVec;

use crate::state::Cell;

#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) method: Method,
    /// Copied: a clone of the URI would hold the server's whole read buffer, which could not be used again meanwhile.
    target: SmallVec<[u8; 64]>,
    pub(crate) version: Version,
    /// Its answer has begun.
    pub(crate) answering: bool,
    /// On the arena's clock.
    begun: u32,
    cell: &'static Cell,
}

impl Line {
    #[inline]
    pub(crate) fn of<B>(request: &Request<B>, cell: &'static Cell) -> Self {
        let target = request.uri().path_and_query();
        let target = target.map_or("*", PathAndQuery::as_str);
        Self {
            method: request.method().clone(),
            target: SmallVec::from_slice(target.as_bytes()),
            version: request.version(),
            answering: false,
            begun: cell.arena().tick(),
            cell,
        }
    }

    /// The path without the query, which may carry secrets.
    pub(crate) fn path(&self) -> &str {
        let target = self.target();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.target().split_once('?').map(|(_, query)| query)
    }

    fn target(&self) -> &str {
        std::str::from_utf8(&self.target).unwrap_or_default()
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
