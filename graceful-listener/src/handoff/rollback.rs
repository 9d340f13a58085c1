//! The end of a successor that must not take over: ABORT, TERM, two seconds, KILL, reap. One that
//! has accepted is asked in the same way, and then has the time that its drain takes. One that
//! somebody else started gets ABORT only.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::process;
use super::started::Started;
use crate::protocol::frame::Frame;
use crate::protocol::machine::{Action, Event, State};

/// From TERM to KILL, and from KILL to giving up on a process that hangs in the kernel.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longer than any drain: a successor that has accepted keeps its own deadline.
const WITHDRAWAL: Duration = Duration::from_secs(600);

/// The owner of the state machine from `RollingBack` or `Withdrawing` until it is `Running` again.
/// Dropping it before is the impatient way: KILL where that is allowed, and the runtime reaps.
#[derive(Debug)]
pub(super) struct Rollback {
    started: Started,
    state: State,
}

impl Rollback {
    /// Tells the successor why, and to end.
    pub(super) fn begin(started: Started, reason: String) -> Self {
        let _ = started.channel.post(&Frame::Abort { reason }, Vec::new());
        started.terminate();
        Self {
            started,
            state: State::RollingBack,
        }
    }

    /// The same for one that may have accepted.
    pub(super) fn dismiss(started: Started, reason: String) -> Self {
        let mut rollback = Self::begin(started, reason);
        rollback.state = State::Withdrawing;
        rollback
    }

    /// For one that goes by itself.
    pub(super) fn wait(started: Started) -> Self {
        Self {
            started,
            state: State::Withdrawing,
        }
    }

    fn patience(&self) -> Duration {
        match self.state {
            State::Withdrawing => WITHDRAWAL,
            _ => PATIENCE,
        }
    }

    /// It is not waited for. One that has accepted may go on for a while.
    fn unseen(&self) -> Event {
        match self.state {
            State::Withdrawing => Event::Late,
            _ => Event::Exited,
        }
    }

    /// Waits for its end. Cancel safe.
    pub(super) async fn run(&mut self) {
        if !self.started.is_ours() {
            // It is told, and was not ours to start.
            self.state = process::tell(self.unseen()).0;
        }
        while self.state != State::Running {
            let event = match timeout(self.patience(), self.started.exited()).await {
                Ok(_) => Event::Exited,
                Err(_) => Event::Late,
            };
            let (state, actions) = process::tell(event);
            if actions.contains(&Action::Kill) {
                self.started.kill();
            }
            self.state = state;
        }
    }

    /// Goes on without anybody waiting, or ends at once where there is no runtime.
    pub(super) fn run_in_background(mut self) {
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { self.run().await });
        }
    }
}

impl Drop for Rollback {
    fn drop(&mut self) {
        if self.state != State::Running {
            if self.state != State::Withdrawing {
                self.started.kill();
            }
            process::tell(self.unseen());
        }
    }
}
