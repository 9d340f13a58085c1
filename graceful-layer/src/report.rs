//! The outcome of a stop: what finished, what was cut, how long each phase took.

use std::{fmt, time::Duration};

use graceful_signal::Cause;
use http::{Method, Version};

use crate::{Counts, Peer, conn::ConnState};

/// What a drain did. Its `Display` is one log line.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Why it began; `None` when the program asked for it.
    pub cause: Option<Cause>,
    /// Whether a successor serves.
    pub handed_over: bool,
    /// How long the service was a lame duck.
    pub lame_duck: Duration,
    /// How long it drained.
    pub draining: Duration,
    /// How long the cutoff took; zero without one.
    pub cutoff: Duration,
    /// Connections seen since the start.
    pub connections: u64,
    /// Requests seen since the start: [`finished`](Self::finished), failed, abandoned and left ones.
    pub requests: u64,
    /// Requests that ended without a whole answer, and not by the cutoff: the client went away, the handler panicked, the
    /// service or the answer's body returned an error.
    pub failed: u64,
    /// Connections that were open when the drain began.
    pub drained: Counts,
    /// Requests that were in flight when the drain began.
    pub drained_requests: usize,
    /// What held the drain to its end, or to the cutoff: of all that was worked on at the last look that found something,
    /// 20 ms before or less, the one that had been there longest. `None` if nothing but idle connections was waited for.
    pub held: Option<Held>,
    /// Connections cut at the end, each with a request in flight or upgraded or half a head read.
    pub cut: Vec<Cut>,
    /// Requests cut at the end.
    pub abandoned: Vec<Abandoned>,
    /// Labels of the beacons that still held the drain at its end, and of hooks that did not end in time.
    pub beacons: Vec<String>,
    /// What still did not go away after the cutoff: connections, requests and beacons that somebody else holds.
    pub left: usize,
    /// The requests among them.
    pub left_requests: usize,
}

impl Report {
    /// How many requests got a whole answer.
    pub fn finished(&self) -> u64 {
        let others = self.abandoned.len() + self.left_requests;
        self.requests.saturating_sub(self.failed + others as u64)
    }

    /// Whether nothing was cut.
    pub fn is_clean(&self) -> bool {
        self.cut.is_empty()
            && self.abandoned.is_empty()
            && self.beacons.is_empty()
            && self.left == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |d: Duration| d.as_millis();
        match &self.cause {
            _ if self.handed_over => write!(f, "handed over")?,
            Some(cause) => write!(f, "stopped by {cause}")?,
            None => write!(f, "stopped")?,
        }
        write!(
            f,
            ": {} connections and {} requests were open, over in {} ms",
            self.drained.total(),
            self.drained_requests,
            ms(self.lame_duck + self.draining + self.cutoff),
        )?;
        if self.lame_duck > Duration::ZERO {
            write!(f, " ({} of them lame duck)", ms(self.lame_duck))?;
        }
        write!(
            f,
            ", cut {} connections and {} requests",
            self.cut.len(),
            self.abandoned.len()
        )?;
        for request in self.abandoned.iter().take(3) {
            write!(f, "; {request}")?;
        }
        for label in &self.beacons {
            write!(f, "; held by {label}")?;
        }
        if let Some(held) = &self.held {
            write!(f, "; longest: {held}")?;
        }
        if self.left > 0 {
            write!(f, "; {} would not go", self.left)?;
        }
        write!(
            f,
            "; seen {} requests on {} connections",
            self.requests, self.connections
        )?;
        match self.failed {
            0 => Ok(()),
            failed => write!(f, ", {failed} of them failed"),
        }
    }
}

/// What held a drain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// A request, a connection or a beacon: `GET /export from 192.0.2.7:4711`, `hijacked connection 3 from …`, `accepting`.
    pub what: String,
    /// How old it was; unknown for a beacon.
    pub age: Option<Duration>,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match self.age {
            Some(age) => write!(f, ", {} ms old", age.as_millis()),
            None => Ok(()),
        }
    }
}

/// A connection that was cut.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Cut {
    /// The connection's number in this tracker.
    pub id: u64,
    /// Who was at its other end.
    pub peer: Peer,
    /// What it was doing.
    pub state: ConnState,
    /// How old it was.
    pub age: Duration,
    /// How many requests it had carried.
    pub requests: u64,
}

/// A request that was cut, for a log or a retry queue.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Abandoned {
    /// Its method.
    pub method: Method,
    /// Its path, without the query.
    pub path: String,
    /// Its query, which may carry secrets: only if [`Tracker::keep_queries`](crate::Tracker::keep_queries) says so.
    pub query: Option<String>,
    /// Its HTTP version.
    pub version: Version,
    /// Who sent it.
    pub peer: Peer,
    /// Its connection's number in this tracker; zero if the connection is not known.
    pub connection: u64,
    /// How long ago it came, to a tenth of a second.
    pub age: Duration,
    /// The body that it announced. How much of it had come is not known here: the body is the handler's.
    pub upload: Upload,
    /// Whether its handler ever ran. If not, the request can be repeated whatever it was.
    pub ran: bool,
    /// What its client got.
    pub answer: Answer,
    /// How many bytes of the answer's body the server had taken. The client may have seen less.
    pub sent: u64,
    /// Whether what its handler wanted to save before the cut was saved ([`Drain::on_cutoff`](crate::Drain::on_cutoff)).
    pub saved: bool,
    /// Why it was cut.
    pub reason: CutReason,
}

impl Abandoned {
    /// Whether repeating it does no harm, by its method or because it never ran.
    ///
    /// # References
    /// RFC 9110 §9.2.2 (idempotent methods).
    pub fn is_repeatable(&self) -> bool {
        const IDEMPOTENT: [Method; 6] = [
            Method::GET,
            Method::HEAD,
            Method::OPTIONS,
            Method::TRACE,
            Method::PUT,
            Method::DELETE,
        ];
        !self.ran || IDEMPOTENT.contains(&self.method)
    }
}

/// The body that a request announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Upload {
    /// None, or an empty one.
    None,
    /// One of so many bytes.
    Bytes(u64),
    /// One of unknown length, or perhaps none, which HTTP/2 does not tell apart by headers.
    Unknown,
}

/// Why what was left was cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CutReason {
    /// The deadline.
    #[default]
    Deadline,
    /// A further signal or a command, before the deadline.
    Hurried,
}

impl CutReason {
    /// The name for logs and journals: `deadline`, `hurried`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Hurried => "hurried",
        }
    }
}

/// What the client of a cut request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// A 503 with `Retry-After`; for gRPC the status 14, UNAVAILABLE.
    Refused,
    /// The end of its connection or stream, without an answer.
    None,
    /// The beginning of an answer, visibly not all of it.
    Truncated,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::None => "unanswered",
            Self::Truncated => "truncated",
        })
    }
}

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} from {} {}",
            self.method, self.path, self.peer, self.answer
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_line_names_what_was_cut() {
        let report = Report {
            cause: Some(Cause::Manual),
            draining: Duration::from_millis(1500),
            connections: 12,
            requests: 340,
            drained_requests: 2,
            abandoned: vec![Abandoned {
                method: Method::GET,
                path: "/export".into(),
                version: Version::HTTP_11,
                peer: Peer::Unix,
                query: None,
                connection: 7,
                age: Duration::from_secs(2),
                upload: Upload::None,
                ran: true,
                answer: Answer::Truncated,
                sent: 65_536,
                saved: false,
                reason: CutReason::Deadline,
            }],
            ..Report::default()
        };
        let line = report.to_string();
        assert!(line.contains("GET /export from unix truncated"), "{line}");
        assert!(line.contains("cut 0 connections and 1 requests"), "{line}");
        assert!(!report.is_clean());
        assert!(!line.contains('\n'), "one line: {line}");
    }
}
