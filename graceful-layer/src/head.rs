//! What is kept of a request while it is in flight: its place in the count, and what to call it if it is cut.

use std::{
    sync::Arc,
    task::{Context, Waker},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING},
};

use crate::{
    Tracker,
    drain::{Saver, Savers, Within},
    line::Line,
    phase::Phase,
    report::{Abandoned, Answer, Upload},
    state::{Arena, Orders, Place, RequestGuard},
};

/// Envoy takes a host that says this out of its load balancing at once.
const ENVOY: HeaderName = HeaderName::from_static("x-envoy-immediate-health-check-fail");

/// One pointer, because the future and the body that it goes through are moved many times.
#[derive(Debug)]
pub(crate) struct Head(Box<Record>);

#[derive(Debug)]
struct Record {
    line: Line,
    upload: Upload,
    grpc: bool,
    /// The handler was polled at least once.
    ran: bool,
    stage: Stage,
    /// Bytes of the answer's body that the server has taken, of how many.
    sent: u64,
    length: Option<u64>,
    savers: Option<Arc<Savers>>,
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
        Self(Box::new(Record {
            line: Line::of(request, guard.cell()),
            upload: Upload::of(request),
            grpc: request.version() == Version::HTTP_2 && is_grpc(request.headers()),
            ran: false,
            stage: Stage::Waiting,
            sent: 0,
            length: None,
            savers: None,
            place: None,
            guard,
        }))
    }

    /// Until [`leave`](Self::leave), the request's [`Drain`](crate::Drain) can be asked for.
    #[inline]
    pub(crate) fn enter(&mut self) -> Within {
        Within::enter(self.arena(), &mut self.0.savers)
    }

    #[inline]
    pub(crate) fn leave(&mut self, within: Within) {
        within.leave(&mut self.0.savers);
    }

    pub(crate) fn take_savers(&mut self) -> Vec<Saver> {
        let savers = self.0.savers.take();
        savers.map_or_else(Vec::new, |savers| savers.take())
    }

    pub(crate) fn note_run(&mut self) {
        self.0.ran = true;
    }

    /// The request waits: from now on it is shown to whoever asks, and woken at the cutoff if its connection does not do it.
    #[inline]
    pub(crate) fn park(&mut self, cx: &Context<'_>) {
        let alone = self.waits_alone();
        match &self.0.place {
            Some(place) if alone => place.stay(cx.waker()),
            Some(_) => {}
            None => self.take_place(alone.then(|| cx.waker().clone())),
        }
    }

    #[cold]
    fn take_place(&mut self, waker: Option<Waker>) {
        self.0.place = Some(Place::take(self.arena(), self.0.line.clone(), waker));
    }

    /// Whether nobody polls the request when its connection is woken.
    fn waits_alone(&self) -> bool {
        self.0.line.version >= Version::HTTP_2 || !self.0.guard.cell().is_live()
    }

    /// Notes that the answer is there, of `length` bytes if that is known. Returns whether there is more to do for it, by
    /// [`dress`](Self::dress): while the service serves and for most bodies, there is not.
    #[inline]
    pub(crate) fn note_answer(&mut self, length: Option<u64>) -> bool {
        self.0.stage = Stage::Answering;
        self.0.line.answering = true;
        self.0.length = length;
        let method = &self.0.line.method;
        let plain = self.0.place.is_none() && method != Method::HEAD && method != Method::CONNECT;
        !plain || length.is_none() || self.0.guard.cell().orders().phase() > Phase::Serving
    }

    /// Has the answer say that it is the last one of its connection, if it is: never on HTTP/2, where the header is illegal
    /// (law 4).
    pub(crate) fn dress<B>(&mut self, response: &mut Response<B>) {
        if let Some(place) = &self.0.place {
            place.note_answering();
        }
        if self.0.line.method == Method::HEAD {
            // Its body is never sent.
            self.0.stage = Stage::Over;
        }
        // A server may drop the body once it has as much as was announced, without asking whether that was all.
        if self.0.length.is_none() {
            self.0.length = content_length(response.headers());
        }
        if self.0.guard.cell().orders().phase() > Phase::Serving {
            self.say_it_is_the_last(response);
        }
    }

    fn say_it_is_the_last<B>(&self, response: &mut Response<B>) {
        let cell = self.0.guard.cell();
        // The number of requests is as good as dice for spreading a share over many.
        let dice = || (cell.begun().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
        // An upgrade is announced in that header, and ends no connection.
        let upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        // A connection that moves to the successor goes on there.
        let last = cell.orders().retires(dice) && !cell.moves();
        if self.0.line.version < Version::HTTP_2 && !upgrade && last {
            if self.0.line.version < Version::HTTP_11 {
                // hyper adds `keep-alive` for a client of HTTP/1.0 that asked for it, unless the answer is HTTP/1.0 too.
                *response.version_mut() = self.0.line.version;
            }
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        if cell.arena().tells_envoy() {
            let told = HeaderValue::from_static("true");
            response.headers_mut().insert(ENVOY, told);
        }
    }

    /// Counts bytes of the answer that the server took.
    #[inline]
    pub(crate) fn note_sent(&mut self, bytes: usize) {
        self.0.sent += bytes as u64;
    }

    /// Whether what becomes of the request now is the cutoff's doing.
    pub(crate) fn is_cut(&self) -> bool {
        let orders = self.0.guard.cell().orders();
        self.0.stage != Stage::Over && (orders.phase() == Phase::Cutoff || orders.says(Orders::CUT))
    }

    /// Whether the request must let go now by itself, because nobody here can drop its connection.
    pub(crate) fn is_cut_loose(&self) -> bool {
        let cell = self.0.guard.cell();
        cell.orders().says(Orders::CUT) && !cell.is_live()
    }

    /// Whether `response` turns the stream into a tunnel, which goes on when the answer is sent. On HTTP/1 the whole
    /// connection becomes one, and that is what is counted then.
    pub(crate) fn opens_tunnel<B>(&mut self, response: &Response<B>) -> bool {
        let opens = self.0.line.version == Version::HTTP_2
            && self.0.line.method == Method::CONNECT
            && response.status().is_success();
        if opens {
            // What passes through it is no body, and has no length.
            self.0.length = None;
        }
        opens
    }

    /// Whether the cutoff has dropped its connection.
    #[cfg(feature = "hyper")]
    pub(crate) fn has_lost_connection(&self) -> bool {
        self.0.guard.cell().orders().says(Orders::CUT)
    }

    /// What becomes of it from now on is nobody's fault.
    #[inline]
    pub(crate) fn finish(&mut self) {
        self.0.stage = Stage::Over;
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.0.grpc
    }

    pub(crate) fn arena(&self) -> &'static Arena {
        self.0.guard.cell().arena()
    }

    /// Notes that the request was cut.
    pub(crate) fn abandon(&mut self, answer: Answer, saved: bool) {
        self.0.stage = Stage::Over;
        let cell = self.0.guard.cell();
        // A server that was dropped has nobody to tell.
        let Some(tracker) = Tracker::of(cell.arena()) else {
            return;
        };
        tracker.abandoned(Abandoned {
            method: self.0.line.method.clone(),
            path: self.0.line.path().to_owned(),
            query: self
                .0
                .line
                .query()
                .filter(|_| tracker.keeps_queries())
                .map(str::to_owned),
            version: self.0.line.version,
            peer: cell.peer(),
            connection: cell.id(),
            age: self.0.line.age(),
            upload: self.0.upload,
            ran: self.0.ran,
            answer,
            sent: self.0.sent,
            saved,
            reason: tracker.cut_reason(),
        });
    }
}

impl Drop for Head {
    /// Dropped before its end it was cut, or it failed.
    #[inline]
    fn drop(&mut self) {
        if self.0.stage != Stage::Over {
            self.end_early();
        }
    }
}

impl Head {
    #[cold]
    fn end_early(&mut self) {
        match self.0.stage {
            Stage::Answering if self.0.length.is_some_and(|length| self.0.sent >= length) => {}
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
