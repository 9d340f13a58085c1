//! A request in flight: its way from the call to the last byte of its answer (laws 3 and 4).

use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{
    HeaderName, HeaderValue, Method, Request, StatusCode, Version, header::CONNECTION,
    response::Parts,
};

use crate::{
    Tracker,
    drain::{self, Within},
    phase::Phase,
    record::{Record, Stage, content_length},
    report::Answer,
    state::{Arena, Cell, Orders, Place, RequestGuard},
};

/// Envoy takes a host that says this out of its load balancing at once.
const ENVOY: HeaderName = HeaderName::from_static("x-envoy-immediate-health-check-fail");

/// One pointer, because the future and the body that it goes through are moved many times. Dropped before
/// [`finish`](Self::finish), the request was cut or it failed.
#[derive(Debug)]
pub(crate) struct Head(Box<Record>);

impl Head {
    #[inline]
    pub(crate) fn of<B>(request: &Request<B>, guard: RequestGuard) -> Self {
        Self(Record::of(request, guard))
    }

    #[inline]
    fn cell(&self) -> &'static Cell {
        self.0.line.cell()
    }

    #[inline]
    pub(crate) fn arena(&self) -> &'static Arena {
        self.cell().arena()
    }

    /// While what is returned lives, the request's [`Drain`](crate::Drain) can be asked for.
    #[inline]
    pub(crate) fn enter(&mut self) -> Within {
        Within::enter(self.arena(), &mut self.0.savers)
    }

    /// Leaves the handler, with what it has left to be run at the cutoff.
    #[inline]
    pub(crate) fn leave(&mut self, within: Within) {
        if within.leave() {
            self.collect_savers();
        }
    }

    #[cold]
    fn collect_savers(&mut self) {
        self.0.savers = drain::collect();
    }

    /// Whether what the handler left is being run, and the handler no more.
    #[inline]
    pub(crate) fn is_saving(&self) -> bool {
        self.0.stage == Stage::Saving
    }

    /// Runs what the handler left, if anything. Resolves to whether all of it ended in time.
    #[cold]
    #[inline(never)]
    pub(crate) fn poll_save(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let bound = self.arena().saving().max(Duration::from_millis(1));
        let record = &mut *self.0;
        record.stage = Stage::Saving;
        record.saving.poll(record.savers.as_deref(), bound, cx)
    }

    /// Its handler was polled, and has no answer yet.
    #[inline]
    pub(crate) fn note_waiting(&mut self) {
        self.0.stage = Stage::Waiting;
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
        self.0.place = Some(Place::take(self.arena(), &self.0.line, waker));
    }

    /// Whether nobody polls the request when its connection is woken.
    fn waits_alone(&self) -> bool {
        self.0.line.version >= Version::HTTP_2 || !self.cell().is_live()
    }

    /// Notes that the answer is there, of `length` bytes if that is known. Returns whether it is plain. If not, it is
    /// to be [`dress`](Self::dress)ed.
    #[inline]
    pub(crate) fn note_answer(&mut self, length: Option<u64>) -> bool {
        self.0.stage = Stage::Answering;
        self.0.line.answering = true;
        self.0.length = length;
        let method = &self.0.line.method;
        self.0.place.is_none()
            && method != Method::HEAD
            && method != Method::CONNECT
            && length.is_some()
            && self.cell().orders().phase() == Phase::Serving
    }

    /// Has the answer say that it is the last one of its connection, if it is: never on HTTP/2, where the header is illegal
    /// (law 4). Returns whether it turns the stream into a tunnel, which goes on when the answer is sent. On HTTP/1 the whole
    /// connection becomes one, and that is what is counted then.
    #[cold]
    #[inline(never)]
    pub(crate) fn dress(&mut self, answer: &mut Parts) -> bool {
        if let Some(place) = &self.0.place {
            place.note_answering();
        }
        if self.0.line.method == Method::HEAD {
            // Its body is never sent.
            self.0.stage = Stage::Over;
        }
        // A server may drop the body once it has as much as was announced, without asking whether that was all.
        if self.0.length.is_none() {
            self.0.length = content_length(&answer.headers);
        }
        if self.cell().orders().phase() > Phase::Serving {
            self.say_it_is_the_last(answer);
        }
        self.opens_tunnel(answer)
    }

    fn say_it_is_the_last(&self, answer: &mut Parts) {
        let cell = self.cell();
        // The number of requests is as good as dice for spreading a share over many.
        let dice = || (cell.begun().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
        // An upgrade is announced in that header, and ends no connection.
        let upgrade = answer.status == StatusCode::SWITCHING_PROTOCOLS;
        // A connection that moves to the successor goes on there.
        let last = cell.orders().retires(dice) && !cell.moves();
        if self.0.line.version < Version::HTTP_2 && !upgrade && last {
            if self.0.line.version < Version::HTTP_11 {
                // hyper adds `keep-alive` for a client of HTTP/1.0 that asked for it, unless the answer is HTTP/1.0 too.
                answer.version = self.0.line.version;
            }
            let close = HeaderValue::from_static("close");
            answer.headers.insert(CONNECTION, close);
        }
        if cell.arena().tells_envoy() {
            let told = HeaderValue::from_static("true");
            answer.headers.insert(ENVOY, told);
        }
    }

    fn opens_tunnel(&mut self, answer: &Parts) -> bool {
        let opens = self.0.line.version == Version::HTTP_2
            && self.0.line.method == Method::CONNECT
            && answer.status.is_success();
        if opens {
            // What passes through it is no body, and has no length.
            self.0.length = None;
        }
        opens
    }

    /// Counts bytes of the answer that the server took.
    #[inline]
    pub(crate) fn note_sent(&mut self, bytes: usize) {
        self.0.sent += bytes as u64;
    }

    /// Whether what becomes of the request now is the cutoff's doing.
    pub(crate) fn is_cut(&self) -> bool {
        self.0.is_cut()
    }

    /// Whether the request must let go now by itself, because nobody here can drop its connection.
    #[inline]
    pub(crate) fn is_cut_loose(&self) -> bool {
        let cell = self.cell();
        cell.orders().says(Orders::CUT) && !cell.is_live()
    }

    /// Whether the cutoff has dropped its connection.
    #[cfg(feature = "hyper")]
    pub(crate) fn has_lost_connection(&self) -> bool {
        self.cell().orders().says(Orders::CUT)
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.0.grpc
    }

    /// Notes that the request was cut, and is refused with `answer`.
    pub(crate) fn refuse(&mut self, answer: &mut Parts, saved: bool) {
        self.0.abandon(Answer::Refused, saved);
        self.dress(answer);
        if let Some(tracker) = Tracker::of(self.arena()) {
            tracker.refused(answer);
        }
    }

    /// It is over, and whatever becomes of its answer from now on is nobody's fault.
    #[inline]
    pub(crate) fn finish(self) {
        self.0.finish();
    }
}
