//! A worker that is asked for a restart asks its supervisor, and hears what becomes of it: the two
//! ends of TRIGGER and OUTCOME.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::channel::Channel;
use super::error::HandoffError;
use super::frame::{Frame, Outcome};
use super::heritage::{Heritage, heritage};
use super::predecessor::Predecessor;

/// How long a supervisor may take to say that it has heard a question.
const HEARD: Duration = Duration::from_secs(5);

/// Asks the supervisor for a restart, if this process is its worker and serves
/// ([`is_worker`](crate::is_worker)). The future resolves to the process number of the worker that
/// has taken over, when it serves.
///
/// The supervisor hears [`WorkerNews::AsksForRestart`](crate::WorkerNews::AsksForRestart). Await
/// [`news`](crate::news) meanwhile: it hears the answer. Nothing if there is no supervisor to ask.
///
/// # Cancel safety
///
/// It is asked at once; dropping the future only means not to hear the answer.
///
/// # Errors
///
/// [`is_failed`](HandoffError::is_failed) with the supervisor's reason;
/// [`is_supervised`](HandoffError::is_supervised) if within five seconds the supervisor has not
/// said that it heard, as one of an earlier release does not: then what becomes of it is in its
/// log; and [`is_aborted`](HandoffError::is_aborted) if it ended meanwhile.
pub fn ask_supervisor()
-> Option<impl Future<Output = Result<u32, HandoffError>> + Send + 'static + use<>> {
    let supervisor = supervisor()?;
    let (id, said) = supervisor.questions.open();
    ask(supervisor, id).then(|| outcome(said))
}

/// Asks the supervisor for a restart on behalf of somebody who waits for no answer, a signal: it is done
/// once nothing of the kind is under way any more, and what becomes of it is in the supervisor's log.
/// Returns whether there is a supervisor, as for [`ask_supervisor`], which could be asked.
pub fn tell_supervisor() -> bool {
    supervisor().is_some_and(|supervisor| ask(supervisor, 0))
}

/// That of this process, if this process serves.
fn supervisor() -> Option<&'static Predecessor> {
    let Heritage::Predecessor(predecessor) = heritage() else {
        return None;
    };
    let serves = predecessor.serving.load(Ordering::Acquire);
    (predecessor.supervises && serves).then_some(predecessor)
}

/// One that is gone has closed the channel, and whoever hears that closes the question.
fn ask(supervisor: &Predecessor, id: u64) -> bool {
    let asked = supervisor.channel.post(&Frame::Trigger { id }, Vec::new());
    asked.is_ok()
}

async fn outcome(mut said: watch::Receiver<Option<Outcome>>) -> Result<u32, HandoffError> {
    let gone = |_| HandoffError::aborted("the supervisor ended before it answered");
    match timeout(HEARD, said.wait_for(Option::is_some)).await {
        Ok(heard) => drop(heard.map_err(gone)?),
        Err(_) => return Err(HandoffError::supervised()),
    }
    let known = |said: &Option<Outcome>| !matches!(said, None | Some(Outcome::Heard));
    match &*said.wait_for(known).await.map_err(gone)? {
        Some(Outcome::Serves(pid)) => Ok(*pid),
        Some(Outcome::Failed(reason)) => Err(HandoffError::not_replaced(reason.clone())),
        None | Some(Outcome::Heard) => Err(HandoffError::supervised()),
    }
}

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

    fn open(&self) -> (u64, watch::Receiver<Option<Outcome>>) {
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
    async fn what_is_said_of_a_question_reaches_whoever_asked_it() {
        let questions = Questions::default();
        let ((one, first), (two, second)) = (questions.open(), questions.open());
        assert_ne!(one, two);
        questions.hear(one, Outcome::Heard);
        questions.hear(two, Outcome::Failed("busy".to_owned()));
        let failed = outcome(second).await.unwrap_err();
        assert!(failed.is_failed() && failed.to_string().contains("busy"));
        questions.hear(99, Outcome::Serves(1));
        questions.hear(one, Outcome::Serves(7));
        assert_eq!(outcome(first).await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_supervisor_that_is_silent_or_gone_is_not_waited_for() {
        let questions = Questions::default();
        let (_, silent) = questions.open();
        assert!(outcome(silent).await.unwrap_err().is_supervised());
        let (id, heard) = questions.open();
        questions.hear(id, Outcome::Heard);
        questions.close();
        assert!(outcome(heard).await.unwrap_err().is_aborted());
    }

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
