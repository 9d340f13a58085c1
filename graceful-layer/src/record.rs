//! What is kept of a request to name it if it is cut.

use std::sync::Arc;

use http::{
    HeaderMap, Method, Request, Version,
    header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING},
};

use crate::{
    Tracker,
    line::Line,
    phase::Phase,
    report::{Abandoned, Answer, Upload},
    savers::{Savers, Saving},
    spare,
    state::{Cell, Orders, Place, RequestGuard},
};

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) line: Line,
    upload: Upload,
    pub(crate) grpc: bool,
    pub(crate) stage: Stage,
    /// Bytes of the answer's body that the server has taken, of how many.
    pub(crate) sent: u64,
    pub(crate) length: Option<u64>,
    pub(crate) savers: Option<Arc<Savers>>,
    pub(crate) saving: Saving,
    pub(crate) place: Option<Place>,
    /// While it is spare: the one that was spare before it.
    pub(crate) before: Option<Box<Self>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Called,
    /// The handler was polled, and has not answered.
    Waiting,
    /// At the cutoff: what the handler left is run.
    Saving,
    /// An upgrade while draining: its handler never runs.
    Unhandled,
    Answering,
    /// Whatever becomes of it now is nobody's fault.
    Over,
}

impl Record {
    #[inline(always)]
    pub(crate) fn of<B>(request: &Request<B>, cell: &'static Cell) -> Box<Self> {
        let mut record = spare::take().unwrap_or_else(|| Self::blank(cell));
        record.line.note(request, cell);
        record.note_upload(request);
        record.stage = Stage::Called;
        record.sent = 0;
        record.length = None;
        record
    }

    /// What only requests with a body have.
    #[inline]
    fn note_upload<B>(&mut self, request: &Request<B>) {
        (self.upload, self.grpc) = match *request.method() {
            Method::GET | Method::HEAD => (Upload::None, false),
            _ => {
                let (headers, version) = (request.headers(), request.version());
                let grpc = version == Version::HTTP_2 && is_grpc(headers);
                (Upload::announced(headers, version), grpc)
            }
        };
    }

    #[cold]
    fn blank(cell: &'static Cell) -> Box<Self> {
        Box::new(Self {
            line: Line::blank(cell),
            upload: Upload::None,
            grpc: false,
            stage: Stage::Over,
            sent: 0,
            length: None,
            savers: None,
            saving: Saving::default(),
            place: None,
            before: None,
        })
    }

    /// Lets the request go, and keeps its record for another. Before its end it was cut, or it failed.
    #[inline(never)]
    pub(crate) fn finish(self: Box<Self>) {
        // Last, for what a drain waits for goes when all the rest is gone (law 7), and also if that panics.
        let guard = RequestGuard::of(self.line.cell());
        let mut record = self;
        if record.stage != Stage::Over {
            record.end_early();
        }
        record.stage = Stage::Over;
        if record.place.is_some() || record.savers.is_some() {
            record.empty();
        }
        spare::keep(record);
        drop(guard);
    }

    #[cold]
    fn empty(&mut self) {
        self.place = None;
        self.savers = None;
        self.saving = Saving::default();
    }

    /// Whether what becomes of the request now is the cutoff's doing.
    pub(crate) fn is_cut(&self) -> bool {
        let orders = self.line.cell().orders();
        self.stage != Stage::Over && (orders.phase() == Phase::Cutoff || orders.says(Orders::CUT))
    }

    #[cold]
    fn end_early(&mut self) {
        // The outer layer reports it.
        if self.line.cell().is_elsewhere() {
            return;
        }
        match self.stage {
            Stage::Answering if self.length.is_some_and(|length| self.sent >= length) => {}
            _ if !self.is_cut() => self.line.cell().arena().note_failed(),
            Stage::Answering => self.abandon(Answer::Truncated, false),
            _ => self.abandon(Answer::None, false),
        }
    }

    /// Notes that the request was cut.
    pub(crate) fn abandon(&mut self, answer: Answer, saved: bool) {
        let ran = self.stage != Stage::Called;
        self.stage = Stage::Over;
        let cell = self.line.cell();
        // A server that was dropped has nobody to tell.
        let Some(tracker) = Tracker::of(cell.arena()) else {
            return;
        };
        let query = self.line.query().filter(|_| tracker.keeps_queries());
        tracker.abandoned(
            Abandoned {
                method: self.line.method.clone(),
                path: self.line.path().to_owned(),
                query: query.map(str::to_owned),
                version: self.line.version,
                peer: cell.peer(),
                connection: cell.id(),
                age: self.line.age(),
                upload: self.upload,
                ran,
                answer,
                sent: self.sent,
                saved,
                reason: tracker.cut_reason(),
            },
            self.grpc,
        );
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Upload {
    fn announced(headers: &HeaderMap, version: Version) -> Self {
        match content_length(headers) {
            Some(0) => Self::None,
            Some(length) => Self::Bytes(length),
            // HTTP/2 need not say that there is a body.
            None if version < Version::HTTP_2 && !headers.contains_key(TRANSFER_ENCODING) => {
                Self::None
            }
            None => Self::Unknown,
        }
    }
}
