//! The handle of an old process whose successor serves.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use crate::error::HandoffError;
use crate::handoff::attempt::Attempt;
use crate::handoff::moving::Mover;
use crate::handoff::started::Started;
use crate::handoff::worker::Worker;
use crate::protocol::frame::Frame;
use crate::protocol::machine::Event;

/// A hand-over that is done: the successor serves, and this process finishes what it has.
///
/// It keeps the listeners open that the successor has taken, whatever becomes of their handles.
/// Dropping it changes nothing for the successor, but then nobody here learns of its end.
#[derive(Debug)]
pub struct Handover(pub(in crate::handoff) Attempt);

impl Handover {
    /// Returns the process number of the successor.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Returns what carries idle connections to the successor, if it takes any
    /// ([`take_connections`](crate::take_connections)).
    ///
    /// Poll [`gone`](Self::gone) meanwhile: it hears the successor's answers.
    pub fn mover(&self) -> Option<Mover> {
        self.0.moves().cloned().map(Mover::new)
    }

    /// Passes a request for a restart on to the successor, which serves and so is the one to do it: it
    /// hears [`News::Restart`](crate::News::Restart). Whether it does it is not known here. Returns whether
    /// there is somebody to hear it.
    pub fn forward(&self) -> bool {
        let told = |started: &Started| started.channel.post(&Frame::Trigger { id: 0 }, Vec::new());
        self.0
            .started()
            .is_some_and(|started| told(started).is_ok())
    }

    /// Waits, without bound, until a younger generation asks this one to be gone within a time,
    /// because too many drain ([`hurry`](crate::hurry)). It is heard while [`gone`](Self::gone) or
    /// [`overhear`](Self::overhear) is polled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn hurried(&self) -> impl Future<Output = Duration> + Send + 'static + use<> {
        let hurry = self.0.started().map(|started| started.hurry());
        async move {
            if let Some(mut hurry) = hurry {
                if let Ok(within) = hurry.wait_for(Option::is_some).await {
                    return within.unwrap_or_default();
                }
            }
            std::future::pending().await
        }
    }

    /// Listens to a successor that ends on purpose, after [`gone`](Self::gone) has said so: a drain
    /// may still be hurried through it. Never resolves.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn overhear(&mut self) {
        self.0.overhear().await;
    }

    /// Makes the successor a worker, which this process has beside the listeners. The listeners
    /// are this process's again, though it should accept from none of them, and the next attempt
    /// may begin. For a successor that was started as a [`worker`](crate::SuccessorBuilder::worker).
    ///
    /// # Errors
    ///
    /// [`is_aborted`](HandoffError::is_aborted) if it is [gone](Self::gone).
    pub fn into_worker(mut self) -> Result<Worker, HandoffError> {
        let generation = self.0.generation();
        let (takes, relays) = self.0.abilities();
        let started = self.0.release();
        let started = started.ok_or_else(|| HandoffError::aborted("the worker is gone"))?;
        Ok(Worker::new(started, generation, takes, relays))
    }

    /// Waits, without bound, until the successor has died, and takes the listeners back.
    ///
    /// They were never closed here, so clients who come while nobody accepts wait in the queue.
    /// When this returns a status they are this process's again: `accept` goes on, and the next
    /// attempt to start a successor is allowed. Race it against the end of the drain: if it wins,
    /// the successor died and this process has to serve again, unless the whole service was stopped.
    ///
    /// A successor that ends on purpose says so ([`leave`](crate::leave)): it was stopped, or hands
    /// over in its turn. Then this returns nothing as soon as it is said, and nobody wants the
    /// listeners back: drop them and this, so that clients do not queue where nobody will serve them.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// Those of waitpid(2), as when something else in this process reaps its children, or ignores
    /// SIGCHLD; and one if the successor is no child of this process, so that nobody here learns
    /// how it ended. The successor has died all the same, and the listeners are this process's.
    pub async fn gone(&mut self) -> io::Result<Option<ExitStatus>> {
        let died = self.0.died().await;
        if !matches!(died, Ok(None)) {
            self.0.tell(Event::Exited);
        }
        died
    }
}
