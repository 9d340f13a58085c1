//! How a connection lets go of its HTTP server between two requests: to rest, or to move to the successor.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use graceful_listener::Turn;

use super::{BoxError, HttpBody, HttpConnection, HttpService, Stage, silent::Silent};
use crate::{http::Protocol, leave::Leave};

/// Why a server was asked to end that is between two requests.
pub(super) enum Asked {
    ToRest,
    ToMove(Turn),
}

impl<S: HttpService<B>, B: HttpBody> HttpConnection<S, B> {
    /// Ready when the connection is to go to the successor this instant.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        match (&mut self.leave, &self.stage) {
            (Some(leave), Stage::Silent(..) | Stage::Http1(_)) => leave.poll_turn(cx),
            // What leaves already has had its turn.
            _ => Poll::Pending,
        }
    }

    fn is_to_rest(&self) -> bool {
        matches!(self.stage, Stage::Http1(_)) && self.rest.is_due()
    }

    fn is_to_move(&self) -> bool {
        let due = self.leave.as_deref().is_some_and(Leave::is_due);
        matches!(self.stage, Stage::Http1(_)) && due
    }

    /// Ready when there is a reason to let go of the HTTP server, or of the stream.
    fn poll_reason(&mut self, cx: &mut Context<'_>) -> Poll<Asked> {
        match self.poll_turn(cx) {
            Poll::Ready(turn) => Poll::Ready(Asked::ToMove(turn)),
            Poll::Pending if self.is_to_rest() => Poll::Ready(Asked::ToRest),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The successor has answered. Returns whether the connection goes on here.
    pub(super) fn arrived(&mut self, taken: bool) -> bool {
        let stage = self.take_stage();
        match &self.leave {
            Some(leave) if taken => leave.gone(),
            Some(leave) => leave.stay(),
            None => {}
        }
        if let (Stage::Leaving(silent, _), false) = (stage, taken) {
            self.stage = Stage::Silent(silent);
        }
        !taken
    }

    /// What becomes of a connection that may rest or move, once it was polled: `asked` is why its server was told to end
    /// before that, if it was; `calm`, how many requests had begun at the last poll that left nothing to do. Ready when it is to
    /// be polled again, with why its server has been told to end then.
    #[inline(never)]
    pub(super) fn poll_leave(
        &mut self,
        asked: Option<Asked>,
        polled: Poll<Result<(), BoxError>>,
        calm: &mut Option<u64>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Asked>, BoxError>> {
        match (asked, polled) {
            (Some(asked), Poll::Ready(Ok(()))) => self.depart(asked)?,
            // It was in the middle of something after all.
            (Some(Asked::ToMove(_)), Poll::Pending) => self.stay(),
            (Some(Asked::ToRest), Poll::Pending) => self.rest.refuse(),
            (None, Poll::Pending) => {
                // Only the next poll tells what becomes of the last request's body: hyper may give up the connection for it,
                // and ends then as if between two requests.
                if self.is_to_rest() || self.is_to_move() {
                    let begun = Some(self.rest.requests());
                    if mem::replace(calm, begun) != begun {
                        return Poll::Ready(Ok(None));
                    }
                }
                let reason = ready!(self.poll_reason(cx));
                return Poll::Ready(Ok(self.ask_to_end(reason)));
            }
            (_, Poll::Ready(ended)) => ended?,
        }
        Poll::Ready(Ok(None))
    }

    /// Asks a connection to end that is between two requests. hyper is the judge of that, for only there does it end at
    /// once: when it is polled again, which is next. Where no server is, it goes.
    fn ask_to_end(&mut self, asked: Asked) -> Option<Asked> {
        match (&asked, &self.leave) {
            (Asked::ToMove(_), Some(leave)) => leave.begin(),
            _ => self.rest.begin(),
        }
        if let Stage::Http1(connection) = &mut self.stage {
            Pin::new(&mut **connection).graceful_shutdown();
            return Some(asked);
        }
        self.go(asked);
        None
    }

    /// Takes the stream out of its server, which has ended: it is silent again, with what the server has read of a next
    /// request. Then it rests, or goes.
    fn depart(&mut self, asked: Asked) -> Result<(), BoxError> {
        if let Stage::Http1(connection) = self.take_stage() {
            let parts = connection.into_parts().ok_or("it was upgraded")?;
            let mut io = parts.io.into_inner();
            io.put_back(&parts.read_buf);
            let silent = Silent::boxed(io, parts.service, Some(Protocol::Http1));
            self.stage = Stage::Silent(silent);
        }
        self.go(asked);
        Ok(())
    }

    /// No server has the stream.
    fn go(&mut self, asked: Asked) {
        match asked {
            Asked::ToMove(turn) => self.send(turn),
            Asked::ToRest => self.rest.settle(),
        }
    }

    fn send(&mut self, turn: Turn) {
        let stage = self.take_stage();
        let moving = match (&stage, &self.leave) {
            (Stage::Silent(silent), Some(leave)) => leave.send(turn, &silent.io),
            _ => None,
        };
        self.stage = match (stage, moving) {
            (Stage::Silent(silent), Some(moving)) => Stage::Leaving(silent, moving),
            (stage, _) => {
                self.stay();
                stage
            }
        };
    }

    fn stay(&self) {
        if let Some(leave) = &self.leave {
            leave.stay();
        }
    }
}
