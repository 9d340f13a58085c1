//! The outcome of a stop: what finished, what was cut, how long each phase took.

use std::{collections::HashSet, fmt, time::Duration};

use graceful_signal::Cause;
use http::{Method, Version};

use crate::{Counts, Peer, conn::ConnState, log::one_line};

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
    /// What held the drain to its end, or to the cutoff. Of all that was worked on at the last look that found something,
    /// 20 ms before or less, this is the one that had been there longest. `None` if nothing but idle connections was waited for.
    pub held: Option<Held>,
    /// Connections that we closed although their clients were not done: at the cutoff those with a request in flight or an
    /// incomplete request, those that were upgraded or in their TLS handshake; before the cutoff those whose make-service did
    /// not resolve although their client had sent something.
    pub cut: Vec<Cut>,
    /// Connections that were closed before the cutoff because their peer used up its time: an incomplete request header or TLS
    /// handshake after [`Grace::first_request_grace`](crate::Grace::first_request_grace), a peer that still sent after it had
    /// read our end of the stream for five times [`Grace::linger`](crate::Grace::linger), 30 s at the most, an HTTP/2 client
    /// that did not complete a frame or a header block after its GOAWAY, and an HTTP/2 client that did not read for a second.
    /// They leave the report [clean](Self::is_clean).
    pub timed_out: Vec<Cut>,
    /// Requests that were aborted at the cutoff.
    pub abandoned: Vec<Abandoned>,
    /// Labels of the drain guards ([`Beacon`](crate::Beacon)) and hooks that still held the drain at its end, and of the hooks that
    /// panicked or did not end within their bound.
    pub beacons: Vec<String>,
    /// Panics in code of the program that the server calls beside its handlers, since the start: hooks, savers, the callbacks
    /// `on_abandoned` and `sign_refusals`, a make-service. Each ended nothing but itself. A hook that panicked is in
    /// [`beacons`](Self::beacons) too, so that the report is not [clean](Self::is_clean). The request of a saver or of a
    /// callback is in [`abandoned`](Self::abandoned). A handler that panics is counted in [`failed`](Self::failed).
    pub panics: Vec<Panicked>,
    /// What still did not go away after the cutoff: connections, requests and beacons that somebody else holds.
    pub left: usize,
    /// The requests among them.
    pub left_requests: usize,
}

impl Report {
    /// How many requests got a complete response.
    pub fn finished(&self) -> u64 {
        let unsent = self.cut.iter().filter(|closed| closed.unsent).count();
        let others = self.abandoned.len() + self.left_requests + unsent;
        self.requests.saturating_sub(self.failed + others as u64)
    }

    /// Adds the connections that were noted one by one.
    pub(crate) fn add_closed(&mut self, closed: Vec<Cut>) {
        let known: HashSet<_> = self.cut.iter().map(|closed| closed.id).collect();
        let (ours, theirs): (Vec<_>, _) = closed
            .into_iter()
            .partition(|closed| closed.reason.is_ours());
        self.timed_out = theirs;
        self.cut.extend(
            ours.into_iter()
                .filter(|closed| !known.contains(&closed.id)),
        );
        // The response that was not sent may be the refusal of an aborted request.
        let named: HashSet<_> = self
            .abandoned
            .iter()
            .map(|request| request.connection)
            .collect();
        for closed in &mut self.cut {
            closed.unsent &= !named.contains(&closed.id);
        }
    }

    /// Whether every client that had the chance to send its request got a complete response, or closed its connection itself, and
    /// whether all drain guards and hooks ended.
    ///
    /// Requests that [`failed`](Self::failed) do not count here.
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
        if !self.timed_out.is_empty() {
            write!(f, "; {} connections timed out", self.timed_out.len())?;
        }
        for request in self.abandoned.iter().take(3) {
            write!(f, "; {request}")?;
        }
        for label in &self.beacons {
            write!(f, "; not finished: {label}")?;
        }
        for panicked in &self.panics {
            write!(f, "; {panicked}")?;
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

/// Code of the program that panicked, once or more often.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Panicked {
    /// What it was: `hook "flush-kafka"`, `saver of GET /export`, `on_abandoned`, `make-service`.
    pub what: String,
    /// The text of its first panic.
    pub message: String,
    /// How often it panicked.
    pub times: u64,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} panicked", self.what)?;
        if self.times > 1 {
            write!(f, " {} times", self.times)?;
        }
        write!(f, ": {}", one_line(&self.message))
    }
}

/// What held a drain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// A request, a connection, a drain guard or a hook: `GET /export from 192.0.2.7:4711`, `hijacked connection 3 from …`, `drain guard "accepting"`.
    pub what: String,
    /// How old it was; unknown for a drain guard or a hook.
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

/// A connection that was closed before its client was done.
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
    /// Whether its last request had ended for the server, but the response was not sent completely: its client read too slowly.
    /// The request is not in [`Report::abandoned`], and it did not [finish](Report::finished).
    pub unsent: bool,
    /// Why it was closed.
    pub reason: CutReason,
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
    /// How many bytes of the response body the server had taken, or on HTTP/2 under `serve` had written. The client may have
    /// received less.
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

/// Why a request was aborted, or a connection closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CutReason {
    /// The deadline.
    #[default]
    Deadline,
    /// A further signal or a command, before the deadline.
    Hurried,
    /// Its make-service did not resolve within the time for a first request, although the client had sent something.
    NoService,
    /// The client did not complete its request header in time.
    IncompleteHeader,
    /// The client did not complete its TLS handshake in time.
    IncompleteHandshake,
    /// The client continued to send after our end of the connection was closed.
    StillSending,
    /// The client of an HTTP/2 connection did not read for a second, not even our GOAWAY, and nothing was in flight.
    NotReading,
}

impl CutReason {
    /// The name for logs and journals: `deadline`, `hurried`, `no-service`, `incomplete-header`, `incomplete-handshake`,
    /// `still-sending`, `not-reading`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Hurried => "hurried",
            Self::NoService => "no-service",
            Self::IncompleteHeader => "incomplete-header",
            Self::IncompleteHandshake => "incomplete-handshake",
            Self::StillSending => "still-sending",
            Self::NotReading => "not-reading",
        }
    }

    /// Whether the client would have got more if we had waited for it.
    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::Deadline | Self::Hurried | Self::NoService)
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
