//! How long is read from a connection that we have half-closed.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// How long a peer may continue to send into a connection that we have closed, like nginx's `lingering_time`.
const LONGEST_LINGER: Duration = Duration::from_secs(30);
/// In a shutdown it is this many times the linger, because such a peer must not hold the drain.
const PAUSES: u32 = 5;

#[derive(Debug)]
pub(super) struct Linger {
    quiet: Pin<Box<Sleep>>,
    pause: Duration,
    end: Instant,
    /// Whether `end` is that of a shutdown.
    stopping: bool,
}

impl Linger {
    pub(super) fn new(pause: Duration, stopping: bool) -> Self {
        let now = Instant::now();
        let mut linger = Self {
            quiet: Box::pin(sleep(pause.min(LONGEST_LINGER))),
            pause,
            end: now + LONGEST_LINGER,
            stopping: false,
        };
        linger.shorten(now, stopping);
        linger
    }

    /// A shutdown may begin while the peer sends.
    fn shorten(&mut self, now: Instant, stopping: bool) {
        if stopping && !self.stopping {
            self.stopping = true;
            self.end = self
                .end
                .min(now + self.pause.saturating_mul(PAUSES).min(LONGEST_LINGER));
        }
    }

    /// Something came: the peer may be quiet for as long again. Returns whether it has sent for too long.
    pub(super) fn extend(&mut self, stopping: bool) -> bool {
        let now = Instant::now();
        self.shorten(now, stopping);
        self.quiet
            .as_mut()
            .reset((now + self.pause.min(LONGEST_LINGER)).min(self.end));
        now >= self.end
    }

    /// Ready when the peer has been quiet for long enough, or has sent for too long: then with `true`.
    pub(super) fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.quiet
            .as_mut()
            .poll(cx)
            .map(|()| Instant::now() >= self.end)
    }
}
