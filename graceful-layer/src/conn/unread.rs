//! Finds out that the peer of a notified HTTP/2 connection no longer reads.
//!
//! While hyper cannot write it does not read either. Such a connection cannot be closed by its server: the GOAWAY stays in
//! hyper's buffer, and a PONG would not be looked at. So the I/O wrapper measures how long nothing can be written.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// How long a peer may leave everything unread.
const GRACE: Duration = Duration::from_secs(1);
/// How often this time begins again because bytes of the peer wait in the kernel, which may be a request.
const RENEWALS: u8 = 4;

/// Made when a write has to wait, dropped when everything was written.
#[derive(Debug)]
pub(super) struct Unread {
    timer: Pin<Box<Sleep>>,
    /// How many bytes the peer's system had not acknowledged when the time began.
    undelivered: Option<usize>,
    renewals: u8,
}

/// The state of the connection when a write has to wait.
pub(super) struct Look {
    pub(super) undelivered: Option<usize>,
    /// Something is in flight, or owed.
    pub(super) busy: bool,
    pub(super) has_bytes: bool,
}

impl Unread {
    pub(super) fn new(undelivered: Option<usize>) -> Self {
        Self {
            timer: Box::pin(sleep(GRACE)),
            undelivered,
            renewals: 0,
        }
    }

    /// Ready when the peer has read nothing for the whole time, and nothing of a request is left.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, look: impl FnOnce() -> Look) -> Poll<()> {
        if self.timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let look = look();
        let reads = look.undelivered != self.undelivered;
        let waits = look.has_bytes && self.renewals < RENEWALS;
        if !look.busy && !reads && !waits {
            return Poll::Ready(());
        }
        self.renewals += u8::from(!look.busy && !reads);
        self.undelivered = look.undelivered;
        self.timer.as_mut().reset(Instant::now() + GRACE);
        // Polled for its wake-up.
        let _ = self.timer.as_mut().poll(cx);
        Poll::Pending
    }
}
