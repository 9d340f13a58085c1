//! A request in flight: its way from the call to the last byte of its answer (laws 3 and 4).

use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};

use crate::{
    Tracker,
    contained::Contained,
    drain::{self, Within},
    line::Line,
    options,
    phase::Phase,
    record::{Record, Stage, content_length},
    report::Answer,
    savers::Savers,
    state::{Arena, Cell, Orders, Place, RequestGuard},
};

/// Envoy takes a host that says this out of its load balancing at once.
const ENVOY: HeaderName = HeaderName::from_static("x-envoy-immediate-health-check-fail");

/// One pointer, because the future and the body that it goes through are moved many times. Dropped before its answer is
/// [whole](Record::note_whole), the request was cut or it failed.
#[derive(Debug)]
pub(crate) struct Head(Option<Box<Record>>);

impl Head {
    /// Of a request that was counted in at `cell`.
    #[inline(always)]
    pub(crate) fn of<B>(request: &Request<B>, cell: &'static Cell) -> Self {
        Self(Some(Record::of(request, cell)))
    }

    /// Of no request, or of one that has ended here.
    pub(crate) const NONE: Self = Self(None);

    #[inline]
    pub(crate) fn record(&mut self) -> Option<&mut Record> {
        self.0.as_deref_mut()
    }

    /// The server took this much of the answer, and it was not the last: now it is the handler or the client that is waited
    /// for.
    #[inline]
    pub(crate) fn sent(&mut self, bytes: usize, cx: &Context<'_>) {
        if let Some(record) = self.record() {
            record.note_sent(bytes);
            record.park(cx);
        }
    }

    /// The server took the last bytes of the response, and keeps them until it has written them.
    #[cfg(feature = "hyper")]
    #[inline]
    pub(crate) fn took(&mut self, bytes: usize) {
        if let Some(record) = self.record() {
            record.note_sent(bytes);
        }
    }

    /// The server has dropped this many of the bytes that it took, without writing them.
    #[cfg(feature = "hyper")]
    #[inline]
    pub(crate) fn unsent(&mut self, bytes: u64) {
        if let Some(record) = self.record().filter(|_| bytes > 0) {
            record.sent = record.sent.saturating_sub(bytes);
        }
    }

    /// The server took the last of the answer, and it is whole or not.
    #[inline]
    pub(crate) fn end(&mut self, whole: bool) {
        if let Some(mut record) = self.0.take() {
            if whole {
                record.note_whole();
                record.line.cell().note_answered();
            }
            record.finish();
        }
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        Self(self.0.take())
    }
}

impl Drop for Head {
    #[inline]
    fn drop(&mut self) {
        self.end(false);
    }
}

/// The savers of a request, ready to be run. A server that was dropped runs none.
#[cold]
fn contain(savers: &Savers, line: &Line) -> Vec<Contained<(), Tracker>> {
    let Some(tracker) = Tracker::of(line.cell().arena()) else {
        return Vec::new();
    };
    let what = format!("saver of {} {}", line.method, line.path());
    let contain = |saver| Contained::new(tracker.clone(), what.clone(), saver);
    savers.take().into_iter().map(contain).collect()
}

impl Record {
    #[inline]
    fn cell(&self) -> &'static Cell {
        self.line.cell()
    }

    #[inline]
    pub(crate) fn arena(&self) -> &'static Arena {
        self.cell().arena()
    }

    /// While what is returned lives, the request's [`Drain`](crate::Drain) can be asked for.
    #[inline]
    pub(crate) fn enter(&mut self) -> Within {
        if drain::is_within() {
            self.nest();
        }
        Within::enter(self.arena(), &mut self.savers)
    }

    /// If an outer layer with the same tracker counts the request, it is not counted here, and its savers are those of the outer layer. The
    /// service of a connection keeps its requests, because they decide when the connection is closed.
    #[cold]
    #[inline(never)]
    fn nest(&mut self) {
        let cell = self.cell();
        if !drain::is_inside(cell.arena()) || cell.is_live() {
            return;
        }
        if !cell.is_elsewhere() {
            let counted = RequestGuard::of(cell);
            self.line.count_at(cell.arena().elsewhere());
            self.cell().count_in();
            cell.take_begun_back();
            drop(counted);
        }
        self.savers = drain::savers();
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
        self.savers = drain::collect();
    }

    /// Whether the handler is to be polled.
    #[inline]
    pub(crate) fn is_handled(&self) -> bool {
        matches!(self.stage, Stage::Called | Stage::Waiting)
    }

    /// The client gets a 503 without its handler having run. The request does not count as aborted.
    pub(crate) fn skip_handler(&mut self) {
        self.stage = Stage::Unhandled;
    }

    pub(crate) fn is_unhandled(&self) -> bool {
        self.stage == Stage::Unhandled
    }

    /// Runs what the handler left, if anything. Resolves to whether all of it ended in time.
    #[cold]
    #[inline(never)]
    pub(crate) fn poll_save(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let bound = self.arena().saving().max(Duration::from_millis(1));
        self.stage = Stage::Saving;
        let Self {
            saving,
            savers,
            line,
            ..
        } = self;
        let start = || {
            savers
                .as_deref()
                .map_or_else(Vec::new, |savers| contain(savers, line))
        };
        saving.poll(start, bound, cx)
    }

    /// Its handler was polled, and has no answer yet. Returns whether there is no time for one.
    #[inline(never)]
    pub(crate) fn wait(&mut self, cx: &Context<'_>) -> bool {
        self.stage = Stage::Waiting;
        self.park(cx);
        self.is_cut()
    }

    /// The request waits: from now on it is shown to whoever asks, and woken at the cutoff if its connection does not do it.
    #[inline]
    pub(crate) fn park(&mut self, cx: &Context<'_>) {
        let alone = self.waits_alone();
        match &self.place {
            Some(place) if alone => place.stay(cx.waker()),
            Some(_) => {}
            None => self.take_place(alone.then(|| cx.waker().clone())),
        }
    }

    #[cold]
    fn take_place(&mut self, waker: Option<Waker>) {
        // The outer layer shows it.
        if self.cell().is_elsewhere() {
            return;
        }
        self.place = Some(Place::take(self.arena(), &self.line, waker));
    }

    /// Whether nobody polls the request when its connection is woken.
    fn waits_alone(&self) -> bool {
        self.line.version >= Version::HTTP_2 || !self.cell().is_live()
    }

    /// Notes that the answer is there, of `length` bytes if that is known. Returns whether it is plain. If not, it is
    /// to be [`dress`](Self::dress)ed.
    #[inline]
    pub(crate) fn note_answer(&mut self, length: Option<u64>) -> bool {
        self.stage = Stage::Answering;
        self.line.answering = true;
        self.length = length;
        let method = &self.line.method;
        self.place.is_none()
            && method != Method::HEAD
            && method != Method::CONNECT
            && length.is_some_and(|length| length > 0)
            && self.cell().orders().phase() == Phase::Serving
    }

    /// Has the answer say that it is the last one of its connection, if it is: never on HTTP/2, where the header is illegal
    /// (law 4). Returns whether it turns the stream into a tunnel, which goes on when the answer is sent. On HTTP/1 the whole
    /// connection becomes one, and that is what is counted then.
    #[cold]
    #[inline(never)]
    pub(crate) fn dress<B>(&mut self, answer: &mut Response<B>) -> bool {
        if let Some(place) = &self.place {
            place.note_answering();
        }
        if self.line.method == Method::HEAD {
            // Its body is never sent.
            self.stage = Stage::Over;
        }
        // A server may drop the body once it has as much as was announced, without asking whether that was all.
        if self.length.is_none() {
            self.length = content_length(answer.headers());
        }
        if self.cell().orders().phase() > Phase::Serving {
            self.say_it_is_the_last(answer);
        }
        self.opens_tunnel(answer)
    }

    fn say_it_is_the_last<B>(&self, answer: &mut Response<B>) {
        let cell = self.cell();
        if self.line.version < Version::HTTP_2 && self.retires(answer) {
            if self.line.version < Version::HTTP_11 {
                // hyper adds `keep-alive` for a client of HTTP/1.0 that asked for it, unless the answer is HTTP/1.0 too.
                *answer.version_mut() = self.line.version;
            }
            options::add_close(answer.headers_mut());
        }
        if cell.arena().tells_envoy() {
            let told = HeaderValue::from_static("true");
            answer.headers_mut().insert(ENVOY, told);
        }
    }

    /// Whether an HTTP/1 connection ends with this response.
    fn retires<B>(&self, answer: &Response<B>) -> bool {
        let cell = self.cell();
        // The number of requests is as good as dice for spreading a share over many.
        let dice = || (cell.begun().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
        // The connection stays open after an upgrade, and as a tunnel (RFC 9110 §9.3.6).
        let stays_open = answer.status() == StatusCode::SWITCHING_PROTOCOLS
            || self.line.method == Method::CONNECT && answer.status().is_success();
        // The successor continues to serve a connection that moves.
        !stays_open && cell.orders().retires(dice) && !cell.moves()
    }

    fn opens_tunnel<B>(&mut self, answer: &Response<B>) -> bool {
        let opens = self.line.version == Version::HTTP_2
            && self.line.method == Method::CONNECT
            && answer.status().is_success();
        if opens {
            // What passes through it is no body, and has no length.
            self.length = None;
        }
        opens
    }

    /// Counts bytes of the answer that the server took.
    #[inline]
    pub(crate) fn note_sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
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

    /// Notes that the request was cut, and is refused with `answer`, which is returned as it goes out.
    pub(crate) fn refuse<B>(&mut self, answer: Response<B>, saved: bool) -> Response<B> {
        self.abandon(Answer::Refused, saved);
        self.sign(answer)
    }

    /// Adds the headers of a refusal: those that close the connection, and those of the application.
    pub(crate) fn sign<B>(&mut self, mut answer: Response<B>) -> Response<B> {
        self.dress(&mut answer);
        let (mut parts, body) = answer.into_parts();
        if let Some(tracker) = Tracker::of(self.arena()) {
            tracker.refused(&mut parts);
        }
        Response::from_parts(parts, body)
    }

    /// The server took the last of the answer: whatever becomes of it from now on is nobody's fault.
    #[inline]
    pub(crate) fn note_whole(&mut self) {
        self.stage = Stage::Over;
    }
}
