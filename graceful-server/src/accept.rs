//! The accept loop: takes what comes, waits when the system has no more, sweeps the queue at the end (laws 8 and 10).

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use graceful_layer::Tracker;
use graceful_listener::{HandoffListener, Moved};
use tokio::time::{Sleep, sleep};

use crate::{
    endpoint::{Accepted, Endpoint},
    http::Http,
    log,
};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// What a sweep takes at the most: more than any accept queue holds.
const SWEEP: usize = 65_536;

/// All listeners of a server.
#[derive(Debug)]
pub(crate) struct Acceptor {
    endpoints: Vec<Paced>,
    tracker: Tracker,
    http: Arc<Http>,
}

/// A listener that is left alone for a while after an error which the next accept would meet again, such as EMFILE.
#[derive(Debug)]
struct Paced {
    endpoint: Endpoint,
    pause: Option<Pin<Box<Sleep>>>,
    next_pause: Duration,
}

impl Acceptor {
    pub(crate) fn new(endpoints: Vec<Endpoint>, tracker: Tracker, http: Http) -> Self {
        let paced = |(index, endpoint): (usize, Endpoint)| Paced {
            endpoint: endpoint.numbered(index),
            pause: None,
            next_pause: FIRST_PAUSE,
        };
        Self {
            endpoints: endpoints.into_iter().enumerate().map(paced).collect(),
            tracker,
            http: Arc::new(http),
        }
    }

    pub(crate) fn listeners(&self) -> Vec<Arc<HandoffListener>> {
        self.endpoints
            .iter()
            .map(|paced| paced.endpoint.listener.clone())
            .collect()
    }

    /// Goes on with a connection that was idle in the predecessor, or refuses it.
    pub(crate) fn adopt(&self, moved: Moved) {
        let from = |paced: &&Paced| {
            !paced.endpoint.is_secured() && moved.is_from(&paced.endpoint.listener)
        };
        if let Some(Paced { endpoint, .. }) = self.endpoints.iter().find(from) {
            if let Some(accepted) = Accepted::moved(moved, &self.tracker) {
                endpoint.start(accepted, &self.http);
            }
        }
    }

    /// Accepts for ever, on all listeners. Never ready.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self {
            endpoints,
            tracker,
            http,
        } = self;
        for paced in endpoints {
            paced.poll_accept(cx, tracker, http);
        }
        Poll::Pending
    }

    /// Ends accepting. Listeners that a successor has taken stay open, unpolled, until this process exits (law 10). From
    /// the others what waits in their queues is taken before they are closed, so that closing resets nobody.
    ///
    /// Returns whether that is done. If descriptors ran out before a queue was empty, call it again.
    pub(crate) fn seal(&mut self) -> bool {
        let Self {
            endpoints,
            tracker,
            http,
        } = self;
        let mut done = true;
        endpoints.retain(|Paced { endpoint, .. }| {
            if endpoint.listener.is_handed_over() {
                return true;
            }
            endpoint.listener.seal();
            let emptied = sweep(endpoint, tracker, http);
            done &= emptied;
            !emptied
        });
        done
    }

    /// Closes what is left: a successor has taken it, and has left on purpose.
    pub(crate) fn close(&mut self) {
        self.endpoints.clear();
    }
}

/// Returns whether the queue is empty.
fn sweep(endpoint: &Endpoint, tracker: &Tracker, http: &Arc<Http>) -> bool {
    let mut swept = 0;
    let emptied = loop {
        match endpoint.listener.accept_queued() {
            Ok(Some((stream, peer))) => {
                swept += 1;
                endpoint.start(Accepted::new(stream, peer, tracker), http);
            }
            Ok(None) => break true,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => break !is_lack(&error),
        }
        if swept == SWEEP {
            break true;
        }
    };
    log::swept(swept);
    emptied
}

/// Whether the system or the process has run out of something that comes back (accept(2)).
fn is_lack(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .contains(&errno.unwrap_or(Errno::BADF))
}

impl Paced {
    fn poll_accept(&mut self, cx: &mut Context<'_>, tracker: &Tracker, http: &Arc<Http>) {
        loop {
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    return;
                }
                self.pause = None;
            }
            match self.endpoint.listener.poll_accept(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok((stream, peer))) => {
                    self.next_pause = FIRST_PAUSE;
                    self.endpoint
                        .start(Accepted::new(stream, peer, tracker), http);
                }
                Poll::Ready(Err(error)) if is_of_one_connection(&error) => {}
                Poll::Ready(Err(error)) => self.pause(&error),
            }
        }
    }

    fn pause(&mut self, error: &io::Error) {
        log::not_accepted(&self.endpoint.listener, error, self.next_pause.as_millis());
        self.pause = Some(Box::pin(sleep(self.next_pause)));
        self.next_pause = (self.next_pause * 2).min(LONGEST_PAUSE);
    }
}

/// Errors of the connection that was to be accepted, not of the listener (accept(2), "Error handling").
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | TimedOut
    )
}
