//! Idle connections on their way to the successor: each is sent once, and the answer decides whose
//! it is. Nobody serves it in between, so no request is served twice (law 6).
//!
//! A connection is ours again only if the successor says so or is dead without having taken it. It
//! answers before it serves, so a connection that it served has been answered for.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout};

use crate::link::channel::Channel;
use crate::protocol::frame::Frame;
use crate::stream::Stream;

/// How many may be on their way at once. The kernel lets no user have more descriptors on their
/// way than one process may have open, and a dead successor costs no more than these a round trip.
const AT_ONCE: usize = 32;
/// For how long a living successor may answer nothing.
const SILENCE: Duration = Duration::from_secs(5);
/// Longest unread rest of a connection that travels: it has to fit into a frame.
const UNREAD: usize = 32 * 1024;

#[derive(Debug)]
pub(super) struct Moves {
    channel: Arc<Channel>,
    unclaimed: Vec<u32>,
    /// The names of the listeners, where the successor knows them by other numbers.
    names: Vec<String>,
    turns: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
}

/// Connections that the successor has not answered for.
#[derive(Debug)]
struct Waiting {
    last: u64,
    heard: Instant,
    answers: HashMap<u64, oneshot::Sender<bool>>,
}

impl Moves {
    pub(super) fn new(channel: Arc<Channel>, unclaimed: Vec<u32>, names: Vec<String>) -> Self {
        Self {
            channel,
            unclaimed,
            names,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Mutex::new(Waiting {
                last: 0,
                heard: Instant::now(),
                answers: HashMap::new(),
            }),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the successor has answered for everything.
    pub(super) fn are_settled(&self) -> bool {
        self.waiting().answers.is_empty()
    }

    /// No more are sent.
    pub(super) fn stop(&self) {
        self.turns.close();
    }

    pub(super) fn answered(&self, id: u64, taken: bool) {
        let mut waiting = self.waiting();
        waiting.heard = Instant::now();
        if let Some(answer) = waiting.answers.remove(&id) {
            // Whoever waited may have been cut.
            let _ = answer.send(taken);
        }
    }

    /// What was not answered for is ours.
    pub(super) fn take_back(&self) {
        self.stop();
        for (_, answer) in self.waiting().answers.drain() {
            let _ = answer.send(false);
        }
    }

    fn is_silent(&self) -> bool {
        let waiting = self.waiting();
        !waiting.answers.is_empty() && waiting.heard.elapsed() >= SILENCE
    }

    /// The number of a connection that is about to be sent.
    fn expect(&self) -> (u64, oneshot::Receiver<bool>) {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.waiting();
        if waiting.answers.is_empty() {
            waiting.heard = Instant::now();
        }
        waiting.last += 1;
        let id = waiting.last;
        waiting.answers.insert(id, answer);
        (id, answered)
    }
}

/// Carries idle connections to the successor. From [`Handover::mover`](crate::Handover::mover);
/// clones are the same.
#[derive(Clone, Debug)]
pub struct Mover(Arc<Moves>);

impl Mover {
    pub(super) fn new(moves: Arc<Moves>) -> Self {
        Self(moves)
    }

    /// Waits until one more connection may be on its way: 32 are at most.
    ///
    /// Nothing if the successor takes no more: it is gone, it leaves in its turn, or it runs and
    /// has answered nothing for five seconds.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in the queue.
    pub async fn turn(self) -> Option<Turn> {
        loop {
            let turn = Arc::clone(&self.0.turns).acquire_owned();
            match timeout(SILENCE, turn).await {
                Ok(turn) => {
                    return Some(Turn {
                        moves: self.0,
                        turn: turn.ok()?,
                    });
                }
                Err(_) if self.0.is_silent() => self.0.stop(),
                Err(_) => {}
            }
        }
    }
}

/// The place of one connection among those on their way.
#[derive(Debug)]
pub struct Turn {
    moves: Arc<Moves>,
    turn: OwnedSemaphorePermit,
}

impl Turn {
    /// Sends a connection. `listener` is the position of its listener among those given to
    /// [`start`](crate::SuccessorBuilder::start); `requests` counts those begun on it; `unread` has
    /// been read from it and not been understood, and comes before what the kernel still has.
    ///
    /// The result resolves to whether the successor has taken it. Until then neither read from
    /// `stream` nor write to it, and do not shut it down. If it was taken drop it, which the client
    /// does not see; otherwise nobody has touched it.
    pub fn send(self, stream: &Stream, listener: u32, requests: u64, unread: &[u8]) -> Moving {
        Moving {
            answer: self.post(stream, listener, requests, unread),
            _turn: self.turn,
        }
    }

    /// Nothing if it cannot be sent.
    fn post(
        &self,
        stream: &Stream,
        listener: u32,
        requests: u64,
        unread: &[u8],
    ) -> Option<oneshot::Receiver<bool>> {
        let moves = &*self.moves;
        if unread.len() > UNREAD || moves.unclaimed.contains(&listener) {
            return None;
        }
        let peer = stream.peer_addr().ok()?.to_string();
        let fd = stream.as_fd().try_clone_to_owned().ok()?;
        let (id, answered) = moves.expect();
        let name = moves.names.get(listener as usize).cloned();
        let frame = Frame::Conn {
            name: name.unwrap_or_default(),
            id,
            listener,
            requests,
            peer,
            unread: unread.to_vec(),
        };
        // A successor that is gone takes nothing: its end is heard of, and answers.
        let _ = moves.channel.post(&frame, vec![Arc::new(fd)]);
        Some(answered)
    }
}

/// Resolves to whether the successor has taken a connection. Made by [`Turn::send`].
///
/// # Cancel safety
///
/// Dropped before it resolves, nobody learns whose the connection is: then drop that too.
#[derive(Debug)]
#[must_use = "until it resolves the connection is nobody's"]
pub struct Moving {
    answer: Option<oneshot::Receiver<bool>>,
    _turn: OwnedSemaphorePermit,
}

impl Future for Moving {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(answer) = &mut self.answer else {
            return Poll::Ready(false);
        };
        match Pin::new(answer).poll(cx) {
            Poll::Ready(Ok(taken)) => Poll::Ready(taken),
            // Nobody listens to the successor any more, which may have taken it or not.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
