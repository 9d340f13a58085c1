//! The answer to our own PING that a silent HTTP/2 peer does not give (see `frames`).

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

/// How long a peer may take for the PONG to our GOAWAY, counted from the GOAWAY's flush: a round trip, amply.
const PONG_GRACE: Duration = Duration::from_secs(1);

/// What is kept of a connection that speaks HTTP/2.
#[derive(Debug, Default)]
pub(super) struct Http2 {
    pub(super) frames: Frames,
    /// Runs from the flush of the GOAWAY.
    pong: Option<Pin<Box<Sleep>>>,
    answered: bool,
    /// How many bytes had come when the time was over in the middle of a frame.
    seen: Option<u64>,
    /// In that frame nothing has come for as long again.
    stuck: bool,
}

impl Http2 {
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// The GOAWAY is with the kernel: from now on the peer has its time.
    pub(super) fn expect_pong(&mut self, cx: &mut Context<'_>) {
        if self.pong.is_none() {
            self.frames.forget_pong();
            let mut pong = Box::pin(sleep(PONG_GRACE));
            // Polled for its wake-up: the next read may be the one it causes.
            let _ = pong.as_mut().poll(cx);
            self.pong = Some(pong);
        }
    }

    /// Waits for the moment to answer our own PING: the peer did not in time, and is not in the middle of a frame.
    pub(super) fn poll_pong(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<()> {
        let Some(pong) = &mut self.pong else {
            return Poll::Pending;
        };
        if self.answered || self.frames.has_ponged() {
            return Poll::Pending;
        }
        ready!(pong.as_mut().poll(cx));
        if !self.frames.is_between() {
            self.wait_for_rest(cx);
            return Poll::Pending;
        }
        if buf.remaining() < PONG.len() {
            return Poll::Pending;
        }
        buf.put_slice(&PONG);
        self.answered = true;
        Poll::Ready(())
    }

    /// In the middle of a frame the peer has its time anew, as long as something comes of it.
    fn wait_for_rest(&mut self, cx: &mut Context<'_>) {
        let seen = self.frames.seen();
        self.stuck = self.seen.replace(seen) == Some(seen);
        if let Some(pong) = self.pong.as_mut().filter(|_| !self.stuck) {
            pong.as_mut().reset(Instant::now() + PONG_GRACE);
            let _ = pong.as_mut().poll(cx);
        }
    }
}
