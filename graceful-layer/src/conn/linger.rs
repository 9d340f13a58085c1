//! How long is read from a connection that we have half-closed.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// How long a peer may go on sending into a connection that we have closed, like nginx's `lingering_time`.
const LONGEST_LINGER: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Linger {
    quiet: Pin<Box<Sleep>>,
    pause: Duration,
    end: Instant,
}

impl Linger {
    pub(super) fn new(pause: Duration) -> Self {
        Self {
            quiet: Box::pin(sleep(pause.min(LONGEST_LINGER))),
            pause,
            end: Instant::now() + LONGEST_LINGER,
        }
    }

    /// Something came: the peer may be quiet for as long again.
    pub(super) fn extend(&mut self) {
        self.quiet
            .as_mut()
            .reset((Instant::now() + self.pause).min(self.end));
    }

    /// Ready when the peer has been quiet for long enough, or has sent for too long.
    pub(super) fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.quiet.as_mut().poll(cx)
    }
}
