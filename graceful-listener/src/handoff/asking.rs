//! A worker that is asked for a restart sends TRIGGER to its supervisor and waits for OUTCOME.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::heritage::{Heritage, heritage};
use super::predecessor::Predecessor;
use crate::error::HandoffError;
use crate::protocol::frame::{Frame, Outcome};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::questions::Questions;

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
}
