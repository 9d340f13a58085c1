//! What is kept of a request while it is in flight: its place in the count, and what to call it if it is cut.

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version, header::CONNECTION,
    uri::PathAndQuery,
};

use crate::{
    phase::Phase,
    report::{Abandoned, Answer},
    state::{Arena, Orders, RequestGuard},
};

#[derive(Debug)]
pub(crate) struct Head {
    method: Method,
    path: Option<PathAndQuery>,
    version: Version,
    finished: bool,
    guard: RequestGuard,
}

impl Head {
    pub(crate) fn of<B>(request: &Request<B>, guard: RequestGuard) -> Self {
        Self {
            method: request.method().clone(),
            path: request.uri().path_and_query().cloned(),
            version: request.version(),
            finished: false,
            guard,
        }
    }

    /// Notes that the answer is there, and has it say that it is the last one of its connection, if it is: never on
    /// HTTP/2, where the header is illegal (law 4).
    pub(crate) fn answer<B>(&mut self, response: &mut Response<B>) {
        // The body of an answer to HEAD is never sent.
        self.finished = self.method == Method::HEAD;
        let cell = self.guard.cell();
        // The number of requests is as good as dice for spreading a share over many.
        let dice = || (cell.begun().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
        // An upgrade is announced in that header, and ends no connection.
        let upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if self.version < Version::HTTP_2 && !upgrade && cell.orders().retires(dice) {
            if self.version < Version::HTTP_11 {
                // hyper adds `keep-alive` for a client of HTTP/1.0 that asked for it, unless the answer is HTTP/1.0 too.
                *response.version_mut() = self.version;
            }
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Whether what becomes of the request now is the cutoff's doing.
    pub(crate) fn is_cut(&self) -> bool {
        let orders = self.guard.cell().orders();
        !self.finished && (orders.phase() == Phase::Cutoff || orders.says(Orders::CUT))
    }

    /// What becomes of it from now on is nobody's fault.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    pub(crate) fn arena(&self) -> &'static Arena {
        self.guard.cell().arena()
    }

    /// Whether nobody polls the request when its connection is woken.
    pub(crate) fn waits_alone(&self) -> bool {
        self.version >= Version::HTTP_2 || !self.guard.cell().is_live()
    }

    /// Notes that the request was cut.
    pub(crate) fn abandon(&self, answer: Answer, saved: bool) {
        let cell = self.guard.cell();
        cell.arena().abandon(Abandoned {
            method: self.method.clone(),
            path: self
                .path
                .as_ref()
                .map_or("*", PathAndQuery::path)
                .to_owned(),
            version: self.version,
            peer: cell.peer(),
            connection: cell.id(),
            answer,
            saved,
        });
    }
}
