//! The PONG that a silent HTTP/2 client does not send (see `frames`).

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::ReadBuf,
    time::{Instant, Sleep, sleep},
};

use super::frames::{Frames, PONG};

/// How long a client may take for the PONG, counted from the flush of the GOAWAY: a round trip, amply.
const PONG_GRACE: Duration = Duration::from_secs(1);
/// How often a client gets this time again because more of an incomplete frame or header block arrived.
const RENEWALS: u8 = 4;

/// What is kept of a connection that speaks HTTP/2.
#[derive(Debug, Default)]
pub(super) struct Http2 {
    pub(super) frames: Frames,
    /// Runs from the flush of the GOAWAY.
    pong: Option<Pin<Box<Sleep>>>,
    answered: bool,
    /// How many bytes had come when the time was over inside of a frame or a header block.
    seen: Option<u64>,
    renewals: u8,
    /// The client does not finish its frame or its header block.
    stuck: bool,
}

impl Http2 {
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// The GOAWAY is with the kernel: the client's time begins. Only the first call counts.
    pub(super) fn expect_pong(&mut self, cx: &mut Context<'_>) {
        if self.pong.is_none() {
            self.frames.forget_pong();
            let mut pong = Box::pin(sleep(PONG_GRACE));
            // Polled for its wake-up: the next read may be the one it causes.
            let _ = pong.as_mut().poll(cx);
            self.pong = Some(pong);
        }
    }

    /// Ready when the PONG that did not come in time was put into `buf`, at a place where the client could have sent it.
    pub(super) fn poll_pong(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<()> {
        let Some(pong) = &mut self.pong else {
            return Poll::Pending;
        };
        if self.answered || self.frames.has_ponged() {
            return Poll::Pending;
        }
        ready!(pong.as_mut().poll(cx));
        if !self.frames.allows_frame() {
            self.wait_for_rest(cx);
            return Poll::Pending;
        }
        self.stuck = false;
        if buf.remaining() < PONG.len() {
            return Poll::Pending;
        }
        buf.put_slice(&PONG);
        self.answered = true;
        Poll::Ready(())
    }

    /// Inside of a frame or a header block the client has its time again, a few times, while more of it arrives.
    fn wait_for_rest(&mut self, cx: &mut Context<'_>) {
        let seen = self.frames.seen();
        let silent = self.seen.replace(seen) == Some(seen);
        self.stuck = silent || self.renewals == RENEWALS;
        if let Some(pong) = self.pong.as_mut().filter(|_| !self.stuck) {
            self.renewals += 1;
            pong.as_mut().reset(Instant::now() + PONG_GRACE);
            let _ = pong.as_mut().poll(cx);
        }
    }
}
