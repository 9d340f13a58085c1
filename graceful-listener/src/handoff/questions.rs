//! The two ends of TRIGGER and OUTCOME: the restarts that a worker has asked for, and one of them as the supervisor has it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::channel::Channel;
use super::frame::{Frame, Outcome};

/// What the supervisor was asked for and has not answered.
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

    /// What the supervisor said.
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

    /// Nobody is there to answer any more.
    pub(super) fn close(&self) {
        self.lock().asked.clear();
    }
}

/// A worker's request for a restart, which waits for the outcome. From
/// [`WorkerNews::AsksForRestart`](crate::WorkerNews::AsksForRestart).
///
/// Dropping it answers that nothing came of it.
#[derive(Debug)]
#[must_use = "dropping it answers that nothing came of it"]
pub struct RestartRequest {
    /// Until it is answered. Nothing for a worker that does not wait.
    asked: Option<(Arc<Channel>, u64)>,
}

impl RestartRequest {
    /// The worker is told that it was heard.
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

    /// Answers that this process serves now. Say it before the worker is told to end.
    pub fn serves(mut self, pid: u32) {
        self.answer(Outcome::Serves(pid));
    }

    /// Answers why it was not done, or not yet.
    pub fn failed(mut self, reason: impl Into<String>) {
        self.answer(Outcome::Failed(reason.into()));
    }

    fn answer(&mut self, outcome: Outcome) {
        self.say(outcome);
        self.asked = None;
    }

    fn say(&self, outcome: Outcome) {
        if let Some((channel, id)) = &self.asked {
            // A worker that is gone does not want to know.
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
    async fn a_request_is_answered_once_also_by_dropping_it() {
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
