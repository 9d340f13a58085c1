//! What is kept of a request while it is in flight: its place in the count, and what to call it if it is cut.

use std::{task::Context, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING},
    uri::PathAndQuery,
};
use http_body::Body;

use crate::{
    Tracker,
    phase::Phase,
    report::{Abandoned, Answer, Upload},
    state::{Arena, Cell, Orders, Place, RequestGuard},
};

/// Envoy takes a host that says this out of its load balancing at once.
const ENVOY: HeaderName = HeaderName::from_static("x-envoy-immediate-health-check-fail");

/// The request line, and where and when it came.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) method: Method,
    pub(crate) target: Option<PathAndQuery>,
    pub(crate) version: Version,
    pub(crate) answering: bool,
    /// On the arena's clock.
    begun: u32,
    cell: &'static Cell,
}

impl Line {
    /// The path without the query, which may carry secrets.
    pub(crate) fn path(&self) -> &str {
        self.target.as_ref().map_or("*", PathAndQuery::path)
    }

    pub(crate) fn cell(&self) -> &'static Cell {
        self.cell
    }

    /// How long ago it came, to a tenth of a second.
    pub(crate) fn age(&self) -> Duration {
        let now = self.cell.arena().tick();
        Duration::from_millis(now.saturating_sub(self.begun).into())
    }
}

#[derive(Debug)]
pub(crate) struct Head {
    line: Line,
    upload: Upload,
    grpc: bool,
    /// The handler was polled at least once.
    ran: bool,
    stage: Stage,
    /// Bytes of the answer's body that the server has taken, of how many.
    sent: u64,
    length: Option<u64>,
    place: Option<Place>,
    guard: RequestGuard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Answering,
    /// Whatever becomes of it now is nobody's fault.
    Over,
}

impl Head {
    #[inline]
    pub(crate) fn of<B>(request: &Request<B>, guard: RequestGuard) -> Self {
        let cell = guard.cell();
        let version = request.version();
        Self {
            line: Line {
                method: request.method().clone(),
                target: request.uri().path_and_query().cloned(),
                version,
                answering: false,
                begun: cell.arena().tick(),
                cell,
            },
            upload: Upload::of(request),
            grpc: version == Version::HTTP_2 && is_grpc(request.headers()),
            ran: false,
            stage: Stage::Waiting,
            sent: 0,
            length: None,
            place: None,
            guard,
        }
    }

    pub(crate) fn note_run(&mut self) {
        self.ran = true;
    }

    /// The request waits: from now on it is shown to whoever asks, and woken at the cutoff if its connection does not do it.
    #[inline]
    pub(crate) fn park(&mut self, cx: &Context<'_>) {
        let alone = self.waits_alone();
        match &self.place {
            Some(place) if alone => place.stay(cx.waker()),
            Some(_) => {}
            None => {
                let waker = alone.then(|| cx.waker().clone());
                self.place = Some(Place::take(self.arena(), self.line.clone(), waker));
            }
        }
    }

    /// Whether nobody polls the request when its connection is woken.
    fn waits_alone(&self) -> bool {
        self.line.version >= Version::HTTP_2 || !self.guard.cell().is_live()
    }

    /// Notes that the answer is there, and has it say that it is the last one of its connection, if it is: never on
    /// HTTP/2, where the header is illegal (law 4).
    #[inline]
    pub(crate) fn answer<B: Body>(&mut self, response: &mut Response<B>) {
        self.stage = Stage::Answering;
        self.line.answering = true;
        // A server may drop the body once it has as much as was announced, without asking whether that was all.
        self.length = response.body().size_hint().exact();
        if self.length.is_none() {
            self.length = content_length(response.headers());
        }
        if self.line.method == Method::HEAD {
            // Its body is never sent.
            self.stage = Stage::Over;
        }
        if let Some(place) = &self.place {
            place.note_answering();
        }
        if self.guard.cell().orders().phase() > Phase::Serving {
            self.say_it_is_the_last(response);
        }
    }

    #[cold]
    fn say_it_is_the_last<B>(&self, response: &mut Response<B>) {
        let cell = self.guard.cell();
        // The number of requests is as good as dice for spreading a share over many.
        let dice = || (cell.begun().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
        // An upgrade is announced in that header, and ends no connection.
        let upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if self.line.version < Version::HTTP_2 && !upgrade && cell.orders().retires(dice) {
            if self.line.version < Version::HTTP_11 {
                // hyper adds `keep-alive` for a client of HTTP/1.0 that asked for it, unless the answer is HTTP/1.0 too.
                *response.version_mut() = self.line.version;
            }
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if cell.arena().tells_envoy() {
            response
                .headers_mut()
                .insert(ENVOY, HeaderValue::from_static("true"));
        }
    }

    /// Counts bytes of the answer that the server took.
    #[inline]
    pub(crate) fn note_sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Whether what becomes of the request now is the cutoff's doing.
    pub(crate) fn is_cut(&self) -> bool {
        let orders = self.guard.cell().orders();
        self.stage != Stage::Over && (orders.phase() == Phase::Cutoff || orders.says(Orders::CUT))
    }

    /// Whether the request must let go now by itself, because nobody here can drop its connection.
    pub(crate) fn is_cut_loose(&self) -> bool {
        let cell = self.guard.cell();
        cell.orders().says(Orders::CUT) && !cell.is_live()
    }

    /// What becomes of it from now on is nobody's fault.
    #[inline]
    pub(crate) fn finish(&mut self) {
        self.stage = Stage::Over;
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.grpc
    }

    pub(crate) fn arena(&self) -> &'static Arena {
        self.guard.cell().arena()
    }

    /// Notes that the request was cut.
    pub(crate) fn abandon(&mut self, answer: Answer, saved: bool) {
        self.stage = Stage::Over;
        let cell = self.guard.cell();
        // A server that was dropped has nobody to tell.
        let Some(tracker) = Tracker::of(cell.arena()) else {
            return;
        };
        let query = self.line.target.as_ref().and_then(PathAndQuery::query);
        tracker.abandoned(Abandoned {
            method: self.line.method.clone(),
            path: self.line.path().to_owned(),
            query: query.filter(|_| tracker.keeps_queries()).map(str::to_owned),
            version: self.line.version,
            peer: cell.peer(),
            connection: cell.id(),
            age: self.line.age(),
            upload: self.upload,
            ran: self.ran,
            answer,
            sent: self.sent,
            saved,
            reason: tracker.cut_reason(),
        });
    }
}

impl Drop for Head {
    /// Dropped before its end it was cut, or it failed.
    #[inline]
    fn drop(&mut self) {
        if self.stage != Stage::Over {
            self.end_early();
        }
    }
}

impl Head {
    #[cold]
    fn end_early(&mut self) {
        match self.stage {
            Stage::Answering if self.length.is_some_and(|length| self.sent >= length) => {}
            _ if !self.is_cut() => self.arena().note_failed(),
            Stage::Answering => self.abandon(Answer::Truncated, false),
            _ => self.abandon(Answer::None, false),
        }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Upload {
    fn of<B>(request: &Request<B>) -> Self {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return Self::None;
        }
        let headers = request.headers();
        match content_length(headers) {
            Some(0) => Self::None,
            Some(length) => Self::Bytes(length),
            // HTTP/2 need not say that there is a body.
            None if request.version() < Version::HTTP_2
                && !headers.contains_key(TRANSFER_ENCODING) =>
            {
                Self::None
            }
            None => Self::Unknown,
        }
    }
}
