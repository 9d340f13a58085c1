//! What a tracker shows of itself to whoever asks: counts by state, and one record per connection.

use std::time::Duration;

use http::{Method, Version};

use crate::{Peer, conn::ConnState, line::Line};

/// Connections by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([usize; ConnState::LIVE.len()]);

impl Counts {
    /// How many connections are in `state`; none are ever `Closed`.
    pub fn of(&self, state: ConnState) -> usize {
        self.0.get(state as usize).copied().unwrap_or(0)
    }

    /// How many connections there are.
    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }

    pub(super) fn add(&mut self, state: ConnState) {
        if let Some(count) = self.0.get_mut(state as usize) {
            *count += 1;
        }
    }
}

/// One connection, as it was when a snapshot passed it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnInfo {
    /// The connection's number in this tracker, counted from 1.
    pub id: u64,
    /// Who is at its other end.
    pub peer: Peer,
    /// Which listener it came from, by the number it was given; in `graceful_server`, in the order they were added.
    pub listener: u16,
    /// What it is doing.
    pub state: ConnState,
    /// Whether it speaks HTTP/2.
    pub http2: bool,
    /// How long it has been there. Resolution: a tenth of a second.
    pub age: Duration,
    /// How many requests it has carried, with those in flight.
    pub requests: u64,
    /// How many requests are in flight on it.
    pub in_flight: usize,
}

/// One request that waits, for its handler or for its client to read, as it was when somebody asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestInfo {
    /// Its method.
    pub method: Method,
    /// Its path, without the query.
    pub path: String,
    /// Its HTTP version.
    pub version: Version,
    /// Who sent it.
    pub peer: Peer,
    /// Its connection's number in this tracker; zero if the connection is not known.
    pub connection: u64,
    /// How long ago it came. Resolution: a tenth of a second, by the clock that [`drain_on`](crate::Tracker::drain_on)
    /// keeps: what came before it ran seems as old as the tracker.
    pub age: Duration,
    /// Whether its answer has begun.
    pub answering: bool,
}

impl From<&Line> for RequestInfo {
    fn from(line: &Line) -> Self {
        Self {
            method: line.method.clone(),
            path: line.path().to_owned(),
            version: line.version,
            peer: line.cell().peer(),
            connection: line.cell().id(),
            age: line.age(),
            answering: line.answering,
        }
    }
}
