//! How a connection leaves its HTTP server, and what happens to it then (law 6).
//!
//! | way out | applies to | how the connection ends |
//! |---|---|---|
//! | detach | HTTP/1 between two requests, under `serve` | hyper returns the stream and the bytes of a next request. Without hyper, the connection is parked, moves to the successor, or closes by the end of its stream |
//! | end of stream | a connection without a server, or that keeps its server because an upgrade was offered on it. The three wrappers of `graceful-layer` in an accept loop of another server. A body after its response that makes no progress for [`Timeouts::idle`](graceful_layer::Timeouts::idle) | after a last look into TLS and the kernel a read returns no bytes. The server closes as if the client had closed. Then half-close and linger (`graceful-layer/src/conn/io/close.rs`) |
//! | GOAWAY | HTTP/2 | hyper closes after the last stream |
//! | reset | request headers that are incomplete for longer than [`Timeouts::head`](graceful_layer::Timeouts::head) or `Grace::first_request_grace`; every connection that is open at the cutoff | the task drops the connection |
//!
//! The sweep or a hand-over orders a detach. These are its rules. Each has a seeded fault in `graceful-server/faults/`, and
//! `.ci/detach-faults` checks that a test fails without the rule.
//!
//! 1. *Nothing is in flight or owed*: every response has ended, and the kernel has all of it.
//! 2. *hyper waits for its stream and for nothing else.* hyper is polled with a waker of our own ([`Detach::probe`]). If hyper keeps
//!    that waker before it reads the stream, then it holds a request body that has a reader, or lost it just now. The connection
//!    then keeps hyper, and is active, until the body is over. Only the cutoff closes it earlier. So bytes of a body are never
//!    served as a request. No version of hyper promises to keep the waker, therefore `trial.rs` tries it once in each process. If
//!    hyper does not keep it, every connection keeps its server.
//! 3. *A body ends well*: before hyper is dropped, the reader of a complete body receives its end ([`Detach::end_body`]).
//! 4. *An offered upgrade keeps its server*, because hyper would pass the stream to the pending `OnUpgrade` future.
//! 5. *Bytes of a next request go to the next server*, which is created for them. Their time is bounded like that of all
//!    incomplete request headers.
//! 6. *Only empty lines are nothing* (RFC 9112 §2.2): they are dropped, and the connection is idle.
//! 7. *The last look*: the connection closes only if neither TLS nor the kernel holds a byte for it.

mod trial;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use graceful_layer::conn::{Detach, Waits};
use graceful_listener::Turn;

use super::{BoxError, HttpBody, HttpConnection, HttpService, Stage, silent::Silent};
use crate::http::Protocol;

pub(crate) use self::trial::can_probe;

impl<S: HttpService<B>, B: HttpBody> HttpConnection<S, B> {
    /// Detaches or moves the connection, if that is due, after a poll that returned `Pending`. Ready when the connection is to be
    /// polled again, or has ended. `probed` is whether the server was probed in this poll already. Then it is not touched, because
    /// it has just received the task's own waker again.
    #[inline(never)]
    pub(super) fn poll_detach(
        &mut self,
        probed: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        if *probed && matches!(self.stage, Stage::Http1(_)) {
            // Its turn may come now, and would be lost.
            if self.detach.is_to_move() {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        let turn = self.poll_turn(cx);
        match &mut self.stage {
            Stage::Http1(server) => {
                if turn.is_pending() && !self.detach.is_due() {
                    return Poll::Pending;
                }
                let (polled, waits) = self.detach.probe(cx, |cx| Pin::new(&mut **server).poll(cx));
                match (polled, waits) {
                    (Poll::Pending, Waits::ForStream) => self.take_stream(cx)?,
                    (Poll::Pending, _) => {
                        *probed = true;
                        self.detach.hold();
                        return Poll::Ready(Ok(()));
                    }
                    (Poll::Ready(ended), _) => {
                        self.take_stage();
                        return Poll::Ready(ended.map_err(Into::into));
                    }
                }
                if turn.is_pending() {
                    return Poll::Ready(Ok(()));
                }
            }
            Stage::Silent(_) => self.detach.note_silent(),
            _ => return Poll::Pending,
        }
        let turn = ready!(turn);
        self.send(turn);
        Poll::Ready(Ok(()))
    }

    /// Ready when the connection is to go to the successor this instant.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        match (&mut self.leave, &self.stage) {
            (Some(leave), Stage::Silent(..) | Stage::Http1(_)) => leave.poll_turn(&self.detach, cx),
            // A connection that is being transferred has had its turn.
            _ => Poll::Pending,
        }
    }

    /// Takes the stream out of a server that waits for its next request, with the bytes that it has read of that request.
    fn take_stream(&mut self, cx: &mut Context<'_>) -> Result<(), BoxError> {
        if let Stage::Http1(mut server) = self.take_stage() {
            let poll = |cx: &mut Context<'_>| Pin::new(&mut *server).poll(cx);
            let spoiled = self.detach.end_body(cx, poll);
            let parts = server.into_parts().ok_or("it was upgraded")?;
            let unread = match parts.read_buf.strip_suffix(Detach::SPOILER) {
                Some(unread) if spoiled => unread,
                _ => &parts.read_buf,
            };
            let mut io = parts.io.into_inner();
            io.take_back(unread);
            let silent = Silent::boxed(io, parts.service, Some(Protocol::Http1));
            self.stage = Stage::Silent(silent);
        }
        Ok(())
    }

    fn send(&mut self, turn: Turn) {
        let stage = self.take_stage();
        let moving = match (&stage, &self.leave) {
            (Stage::Silent(silent), Some(leave)) => leave.send(turn, &self.detach, &silent.io),
            _ => None,
        };
        self.stage = match (stage, moving) {
            (Stage::Silent(silent), Some(moving)) => Stage::Leaving(silent, moving),
            (stage, _) => {
                self.detach.stay();
                stage
            }
        };
    }

    /// The successor has accepted or rejected the connection. Returns whether this process keeps serving it.
    pub(super) fn arrived(&mut self, taken: bool) -> bool {
        let stage = self.take_stage();
        if taken {
            crate::log::moved(self.detach.id());
            return false;
        }
        self.detach.stay();
        if let Stage::Leaving(silent, _) = stage {
            self.stage = Stage::Silent(silent);
        }
        true
    }
}
