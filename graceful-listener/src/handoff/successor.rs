//! The handles of the old process: how a successor is started (`builder`), one that is started or serves beside it, and
//! one that has taken over (`handover`).

mod builder;
mod handover;

use std::process::ExitStatus;

use super::attempt::Attempt;
use super::origin::Origin;
use super::plan::Plan;
use crate::error::HandoffError;
use crate::protocol::machine::{Event, State};

pub use self::builder::SuccessorBuilder;
pub use self::handover::Handover;

/// The next process, started and ready, which does not accept yet.
///
/// [`commit`](Self::commit) lets it take over. Dropping it rolls back: the successor is ended in
/// the background, SIGTERM first (at once by SIGKILL where no runtime is left), and this process
/// serves on. Until that is done another attempt is refused as busy; [`abort`](Self::abort) waits
/// for it.
///
/// # Examples
///
/// ```no_run
/// use graceful_listener::{HandoffListener, Successor};
///
/// # async fn restart(listener: &HandoffListener) -> Result<(), Box<dyn std::error::Error>> {
/// let successor = Successor::builder().start(&[listener]).await?;
/// println!("process {} is ready", successor.pid());
/// let handover = successor.commit().await?;
/// // It accepts from here on. Finish what is open, keep `handover`, and return from `main`.
/// # drop(handover);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping a successor ends it"]
pub struct Successor(Attempt);

impl Successor {
    /// Returns how to start one; [`start`](SuccessorBuilder::start) does.
    pub fn builder() -> SuccessorBuilder {
        Origin::recorded();
        SuccessorBuilder(Plan::default())
    }

    /// Returns its process number.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Returns its generation: one more than that of this process.
    pub fn generation(&self) -> u32 {
        self.0.generation()
    }

    /// Lets the successor take over.
    ///
    /// The listeners that it took are marked as handed over: `accept` on them waits for ever and
    /// dropping them leaves the paths of Unix listeners alone. Then COMMIT is sent, and from there on
    /// the successor accepts and this process never ends it. The [`Handover`] keeps them open:
    /// hold on to it to the end of the process, so that nothing is lost if the successor dies
    /// meanwhile ([`gone`](Handover::gone)). A listener that the successor did not take stays as
    /// it was, see [`is_handed_over`](crate::HandoffListener::is_handed_over); sweep it with
    /// [`accept_queued`](crate::HandoffListener::accept_queued) and drop it.
    ///
    /// A connection that `accept` has returned is this process's to finish: let none be on its way
    /// from accepting to serving when the process ends.
    ///
    /// # Cancel safety
    ///
    /// COMMIT is sent at the first poll. If that fails, dropping the future goes on with the roll
    /// back in the background.
    ///
    /// # Errors
    ///
    /// [`is_exited`](HandoffError::is_exited) and others if the successor is gone by now. This
    /// process then serves as before.
    pub async fn commit(mut self) -> Result<Handover, HandoffError> {
        self.0.tell(Event::Commit);
        match self.0.settle().await {
            State::Draining => Ok(Handover(self.0)),
            _ => Err(self.0.cause()),
        }
    }

    /// Lets the successor serve beside this process: both accept from the same queues, and each
    /// connection is whose who accepts it first. A canary on one machine.
    ///
    /// It is undecided until [`Beside::commit`] lets the successor go on alone, or
    /// [`Beside::dismiss`] this process.
    ///
    /// # Cancel safety
    ///
    /// BESIDE is sent at the first poll. Dropped before it resolves, the successor is rolled back.
    ///
    /// # Errors
    ///
    /// As for [`commit`](Self::commit).
    pub async fn beside(mut self) -> Result<Beside, HandoffError> {
        self.0.tell(Event::Join);
        match self.0.settle().await {
            State::Beside => Ok(Beside(self.0)),
            _ => Err(self.0.cause()),
        }
    }

    /// Ends the successor and waits until it is gone: it is told why, gets SIGTERM, and two
    /// seconds later SIGKILL. This process serves as before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future goes on in the background.
    pub async fn abort(mut self) {
        self.0.tell(Event::Stop);
        self.0.settle().await;
    }
}

/// A successor that serves beside this process, until it is decided who goes on.
///
/// While it is undecided the listeners belong to this process: it may serve on as if nothing had
/// been, also if the successor dies. A successor that has accepted is never killed: dropping
/// this dismisses it, and it drains in its own time.
#[derive(Debug)]
#[must_use = "dropping it dismisses the successor"]
pub struct Beside(Attempt);

impl Beside {
    /// Returns the process number of the successor.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Lets the successor go on alone: from here on everything is as after
    /// [`Successor::commit`].
    ///
    /// # Cancel safety
    ///
    /// COMMIT is sent at the first poll.
    ///
    /// # Errors
    ///
    /// The successor is gone, or going: then this is known when it has gone. This process serves on alone.
    pub async fn commit(mut self) -> Result<Handover, HandoffError> {
        self.0.tell(Event::Commit);
        match self.0.settle().await {
            State::Draining => Ok(Handover(self.0)),
            _ => Err(self
                .0
                .cause_or("it was stopped while it served beside this process")),
        }
    }

    /// Asks the successor to stop, by ABORT and SIGTERM, and waits until it has, ten minutes at most:
    /// it finishes what it has accepted. This process serves on alone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future goes on in the background.
    pub async fn dismiss(mut self) {
        self.0.tell(Event::Stop);
        self.0.settle().await;
    }

    /// Waits, without bound, until the successor has ended, because it died or was told to stop: its
    /// status, where that is known. Then this process serves alone, and another attempt is allowed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn gone(&mut self) -> Option<ExitStatus> {
        self.0.parted().await
    }
}
