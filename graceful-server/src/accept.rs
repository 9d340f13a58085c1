//! The accept loop: takes what comes, waits when the system has no more, sweeps the queue at the end (laws 8 and 10).
//!
//! It runs in a task of its own, so that an accept polls nothing else that the server waits for, and connections are
//! started by a worker of the runtime, whoever awaits the server.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use graceful_layer::Tracker;
use graceful_listener::{HandoffListener, Moved};
use tokio::{
    task::AbortHandle,
    time::{Instant, Sleep, sleep},
};

use crate::{
    endpoint::{Accepted, Endpoint},
    http::Http,
    lock::lock,
    log,
};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long handshakes that are half done are waited for: then the kernel would ask the client again.
const HANDSHAKES: Duration = Duration::from_secs(1);
const MARGIN: Duration = Duration::from_millis(200);
/// What a sweep takes at the most: more than any accept queue holds.
const SWEEP: usize = 65_536;

/// All listeners of a server. Nothing is accepted when it is dropped.
#[derive(Debug)]
pub(crate) struct Acceptor {
    shared: Arc<Mutex<Listening>>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Listening {
    endpoints: Vec<Paced>,
    tracker: Tracker,
    http: Arc<Http>,
    /// Whether connections are accepted now.
    on: bool,
    /// Of the task, while they are not.
    waker: Option<Waker>,
    /// When the end of accepting began.
    sealed: Option<Instant>,
}

/// A listener that is left alone for a while after an error which the next accept would meet again, such as EMFILE.
#[derive(Debug)]
struct Paced {
    endpoint: Endpoint,
    pause: Option<Pin<Box<Sleep>>>,
    next_pause: Duration,
}

impl Acceptor {
    /// Accepts nothing before it is [`turn`](Self::turn)ed on.
    pub(crate) fn new(endpoints: Vec<Endpoint>, tracker: Tracker, http: Http) -> Self {
        let paced = |(index, endpoint): (usize, Endpoint)| Paced {
            endpoint: endpoint.numbered(index),
            pause: None,
            next_pause: FIRST_PAUSE,
        };
        let shared = Arc::new(Mutex::new(Listening {
            endpoints: endpoints.into_iter().enumerate().map(paced).collect(),
            tracker,
            http: Arc::new(http),
            on: false,
            waker: None,
            sealed: None,
        }));
        let listening = shared.clone();
        let accept = poll_fn(move |cx| lock(&listening).poll_accept(cx));
        let task = tokio::spawn(accept).abort_handle();
        Self { shared, task }
    }

    /// Whether what comes is accepted from now on. Turned off, nothing is accepted when this returns.
    pub(crate) fn turn(&self, on: bool) {
        let mut listening = lock(&self.shared);
        listening.on = on;
        listening.sealed = None;
        let waker = listening.waker.take();
        drop(listening);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        lock(&self.shared).on
    }

    pub(crate) fn listeners(&self) -> Vec<Arc<HandoffListener>> {
        lock(&self.shared)
            .endpoints
            .iter()
            .map(|paced| paced.endpoint.listener.clone())
            .collect()
    }

    /// Goes on with a connection that was idle in the predecessor, or refuses it.
    pub(crate) fn adopt(&self, moved: Moved) {
        let listening = lock(&self.shared);
        let from = |paced: &&Paced| {
            !paced.endpoint.is_secured() && moved.is_from(&paced.endpoint.listener)
        };
        if let Some(Paced { endpoint, .. }) = listening.endpoints.iter().find(from) {
            if let Some(accepted) = Accepted::moved(moved, &listening.tracker) {
                endpoint.start(accepted, &listening.http);
            }
        }
    }

    /// Ends accepting. Listeners that a successor has taken stay open, unpolled, until this process exits (law 10). From
    /// the others what waits in their queues is taken before they are closed, so that closing resets nobody.
    ///
    /// Returns whether that is done. If descriptors ran out before a queue was empty, or somebody is about to get into it,
    /// call it again.
    pub(crate) fn seal(&self) -> bool {
        lock(&self.shared).seal()
    }

    /// Closes what is left: a successor has taken it, and has left on purpose.
    pub(crate) fn close(&self) {
        lock(&self.shared).endpoints.clear();
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.task.abort();
        // The task goes when the runtime gets to it; the listeners must not wait for that.
        self.close();
    }
}

impl Listening {
    /// Accepts for ever, on all listeners. Never ready.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.on {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        for paced in &mut self.endpoints {
            paced.poll_accept(cx, &self.tracker, &self.http);
        }
        Poll::Pending
    }

    /// Not to the cutoff: what is not over then has held up the drain.
    fn waits_for_handshakes(&mut self) -> bool {
        let until = *self.sealed.get_or_insert_with(Instant::now) + HANDSHAKES;
        let now = Instant::now();
        let cutoff = self.tracker.deadline();
        now < until && cutoff.is_none_or(|cutoff| now + MARGIN < cutoff)
    }

    fn seal(&mut self) -> bool {
        self.on = false;
        let waits = self.waits_for_handshakes();
        let Self {
            endpoints,
            tracker,
            http,
            ..
        } = self;
        let mut done = true;
        endpoints.retain(|Paced { endpoint, .. }| {
            if endpoint.listener.is_handed_over() {
                return true;
            }
            // Before the queue is swept, for that is where they go; and before the first seal, for a look takes milliseconds, in
            // which whoever comes would have to come again in a second. Mostly there is nobody.
            let half_open = waits && endpoint.listener.half_open() > 0;
            let sealed = endpoint.listener.seal();
            let emptied = sweep(endpoint, tracker, http, sealed) && !(sealed && half_open);
            done &= emptied;
            !emptied
        });
        done
    }
}

/// Returns whether the queue is empty.
fn sweep(endpoint: &Endpoint, tracker: &Tracker, http: &Arc<Http>, sealed: bool) -> bool {
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
    log::swept(&endpoint.listener, sealed, swept);
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
            match self.endpoint.listener.poll_accept_alone(cx) {
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
