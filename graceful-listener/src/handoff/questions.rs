//! The two ends of TRIGGER and OUTCOME: the open requests of a worker, and a request at its supervisor.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::link::channel::Channel;
use crate::protocol::frame::{Frame, Outcome};

/// The requests to the supervisor for which no OUTCOME has come.
#[derive(Debug, Default)]
pub(super) struct Questions(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    last: u64,
    asked: HashMap<u64, watch::Sender<Option<Outcome>>>,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self) -> (u64, watch::Receiver<Option<Outcome>>) {
        let (sender, said) = watch::channel(None);
        let mut open = self.lock();
        open.asked.retain(|_, sender| !sender.is_closed());
        open.last += 1;
        let id = open.last;
        open.asked.insert(id, sender);
        (id, said)
    }

    /// Passes OUTCOME on to the task that waits for it.
    pub(super) fn hear(&self, id: u64, outcome: Outcome) {
        let mut open = self.lock();
        let over = outcome != Outcome::Heard;
        if let Some(sender) = open.asked.get(&id) {
            sender.send_replace(Some(outcome));
        }
        if over {
            open.asked.remove(&id);
        }
    }

    /// The supervisor is gone: no OUTCOME will come.
    pub(super) fn close(&self) {
        self.lock().asked.clear();
    }
}

/// A worker's request for a restart, which waits for the outcome. From
/// [`WorkerNews::AsksForRestart`](crate::WorkerNews::AsksForRestart).
///
/// Dropping it sends a failure.
#[derive(Debug)]
#[must_use = "dropping it sends a failure"]
pub struct RestartRequest {
    /// Until the outcome is sent. `None` for a worker that does not wait.
    asked: Option<(Arc<Channel>, u64)>,
}

impl RestartRequest {
    /// Sends the worker a receipt.
    pub(super) fn new(channel: &Arc<Channel>, id: u64) -> Self {
        let asked = (id != 0).then(|| (Arc::clone(channel), id));
        let request = Self { asked };
        request.say(Outcome::Heard);
        request
    }

    /// Whether the worker waits for the outcome.
    pub fn is_awaited(&self) -> bool {
        self.asked.is_some()
    }

    /// Sends the PID of the worker that serves now. Call it before the old worker is terminated.
    pub fn serves(mut self, pid: u32) {
        self.answer(Outcome::Serves(pid));
    }

    /// Sends the reason why there was no restart, or not yet.
    pub fn failed(mut self, reason: impl Into<String>) {
        self.answer(Outcome::Failed(reason.into()));
    }

    fn answer(&mut self, outcome: Outcome) {
        self.say(outcome);
        self.asked = None;
    }

    fn say(&self, outcome: Outcome) {
        if let Some((channel, id)) = &self.asked {
            // A worker that is gone needs no outcome.
            let _ = channel.post(&Frame::Outcome { id: *id, outcome }, Vec::new());
        }
    }
}

impl Drop for RestartRequest {
    fn drop(&mut self) {
        self.answer(Outcome::Failed("the supervisor gave up on it".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_gets_one_outcome_also_by_dropping_it() {
        let (supervisor, theirs) = Channel::pair().unwrap();
        let (supervisor, worker) = (Arc::new(supervisor), Channel::new(theirs));
        RestartRequest::new(&supervisor, 1).serves(7);
        drop(RestartRequest::new(&supervisor, 2));
        drop(RestartRequest::new(&supervisor, 0));
        drop(supervisor);
        let mut heard = Vec::new();
        while let Some(message) = worker.recv().await.unwrap() {
            let Frame::Outcome { id, outcome } = message.frame else {
                panic!("{:?}", message.frame);
            };
            heard.push((id, outcome));
        }
        let gave_up = Outcome::Failed("the supervisor gave up on it".to_owned());
        let said = [Outcome::Heard, Outcome::Serves(7), Outcome::Heard, gave_up];
        assert_eq!(
            heard,
            [1, 1, 2, 2].into_iter().zip(said).collect::<Vec<_>>()
        );
    }
}
