//! The old process in a hand-over, as a table: no descriptor, no clock, no process in it.
//!
//! Invariants, each a law of the workspace:
//! 1. From any state before `Draining`, every failure leads back to `Running` (law 11). We serve in
//!    all of them, also beside a successor: its end costs what it had accepted and nothing of ours.
//! 2. KILL is sent in `Killing` only, and no arrow leads there once the successor may have read
//!    COMMIT or BESIDE, for from then on it may accept (law 9). One that serves beside us is asked to
//!    end by TERM, drains, and is waited for in `Withdrawing`.
//! 3. A second trigger never starts a second successor, not even while one serves beside us (law 9).
//! 4. `Draining` ends with the successor only, or with the decision to be its supervisor, and then
//!    the listeners are ours again (law 10).
//! 5. The listeners are handed over by COMMIT alone, which may follow BESIDE.
//! 6. After the end of a process that has accepted, or that is waited for no longer, somebody may have them of whom nothing
//!    is known here (law 8).

/// Where the process is. `process` holds the one there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No successor.
    Running,
    /// Asking whether a successor makes sense at all.
    Preflight,
    /// Starting the program.
    Spawning,
    /// It runs and has the listeners, but may not accept.
    AwaitReady,
    /// It is ready. The caller decides when it takes over.
    Ready,
    /// COMMIT is on its way.
    Committing,
    /// BESIDE is on its way.
    Joining,
    /// The successor accepts, and so do we. The caller decides who goes on.
    Beside,
    /// COMMIT is on its way to a successor that accepts already.
    Confirming,
    /// The successor has accepted and goes: it finishes what it has, and we serve alone.
    Withdrawing,
    /// The successor accepts. Our listeners stay open, in case it dies.
    Draining,
    /// It was asked to end.
    RollingBack,
    /// It was forced to end.
    Killing,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Somebody wants a successor.
    Trigger,
    /// The preflight found nothing against it.
    Passed,
    /// The program was started.
    Spawned,
    /// The preflight found something, or the program could not be started.
    Failed,
    /// The successor asks for more time.
    Extend,
    /// The successor is ready.
    Ready,
    /// The caller wants it to take over.
    Commit,
    /// COMMIT is written.
    Committed,
    /// The caller wants it to serve beside us.
    Join,
    /// BESIDE is written.
    Joined,
    /// The successor ends on purpose, and says so.
    Left,
    /// The successor broke the protocol or closed the channel, and still runs.
    Lost,
    /// The successor ended and was reaped.
    Exited,
    /// The deadline of the state passed.
    Late,
    /// The caller keeps the listeners and has the successor as a worker, which it may replace.
    Release,
    /// The caller wants no successor any more: `abort`, a dropped handle, or this process is
    /// itself told to end.
    Stop,
}

/// What to do about it, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Answer the trigger: an attempt is under way.
    RefuseBusy,
    /// Answer the trigger: the successor is the one to ask.
    RefuseHandedOver,
    /// Give the successor HELLO and the listeners, and the time it has to become ready.
    Introduce,
    /// Move the deadline.
    Extend,
    /// Tell the successor that it is over: ABORT and TERM, and the time it has to end.
    Abort,
    /// KILL, and the time the kernel has to carry it out.
    Kill,
    /// Tell the successor that it is not wanted: ABORT and TERM, and the time its drain may take.
    Dismiss,
    /// The same time for one that goes by itself.
    Await,
    /// Send ABORT to the process that still has the channel, if there is one: the server of a launcher that failed.
    SendAbort,
    /// The listeners are the successor's.
    HandOver,
    /// The listeners are ours again.
    Reclaim,
    /// Who else may have them is not known any more.
    LoseSight,
}

impl State {
    /// What follows. An event that means nothing in a state (it came late) changes nothing.
    pub(crate) fn on(self, event: Event) -> (Self, &'static [Action]) {
        use {Action as A, Event as E};
        match (self, event) {
            (Self::Running, E::Trigger) => (Self::Preflight, &[]),
            (Self::Draining, E::Trigger) => (self, &[A::RefuseHandedOver]),
            (_, E::Trigger) => (self, &[A::RefuseBusy]),

            (Self::Preflight, E::Passed) => (Self::Spawning, &[]),
            (Self::Preflight | Self::Spawning, E::Failed | E::Stop) => (Self::Running, &[]),
            (Self::Spawning, E::Spawned) => (Self::AwaitReady, &[A::Introduce]),

            (Self::AwaitReady, E::Extend) => (self, &[A::Extend]),
            (Self::AwaitReady, E::Ready) => (Self::Ready, &[]),
            (Self::AwaitReady, E::Late) => (Self::RollingBack, &[A::Abort]),

            (Self::Ready, E::Commit) => (Self::Committing, &[]),
            (Self::Committing, E::Committed) => (Self::Draining, &[A::HandOver]),

            // COMMIT or BESIDE could not be written, so no process has read it.
            (Self::AwaitReady | Self::Ready | Self::Committing | Self::Joining, E::Lost) => {
                (Self::RollingBack, &[A::Abort])
            }
            (Self::AwaitReady | Self::Ready, E::Stop) => (Self::RollingBack, &[A::Abort]),

            (Self::Ready, E::Join) => (Self::Joining, &[]),
            (Self::Joining, E::Joined) => (Self::Beside, &[]),
            (Self::Beside, E::Commit) => (Self::Confirming, &[]),
            (Self::Confirming, E::Committed) => (Self::Draining, &[A::HandOver]),
            (Self::Beside, E::Lost | E::Stop) | (Self::Confirming, E::Lost) => {
                (Self::Withdrawing, &[A::Dismiss])
            }
            (Self::Beside, E::Left) => (Self::Withdrawing, &[A::Await]),
            (Self::AwaitReady | Self::Ready | Self::Committing, E::Exited)
            | (Self::Joining | Self::Beside | Self::Confirming, E::Exited) => {
                (Self::Running, &[A::SendAbort])
            }
            // It has a deadline of its own. If it does not keep it, it is let go.
            (Self::Withdrawing, E::Late) => (Self::Running, &[A::LoseSight]),

            (Self::RollingBack, E::Late) => (Self::Killing, &[A::Kill]),
            // A process that KILL does not end hangs in the kernel; waiting helps nobody.
            (Self::Killing, E::Late) => (Self::Running, &[]),
            (Self::Withdrawing, E::Exited) => (Self::Running, &[]),
            (Self::RollingBack | Self::Killing, E::Exited) => (Self::Running, &[]),

            // It may have had a successor of its own.
            (Self::Draining, E::Exited) => (Self::Running, &[A::Reclaim, A::LoseSight]),
            (Self::Draining, E::Release) => (Self::Running, &[A::Reclaim]),

            _ => (self, &[]),
        }
    }

    /// Whether it is settled who may accept: no COMMIT or BESIDE can follow without another trigger.
    pub(crate) fn is_settled(self) -> bool {
        matches!(
            self,
            Self::Running | Self::Withdrawing | Self::Draining | Self::RollingBack | Self::Killing
        )
    }

    /// Whether nothing happens from here on until the caller decides.
    pub(crate) fn rests(self) -> bool {
        matches!(
            self,
            Self::Running | Self::Ready | Self::Beside | Self::Draining
        )
    }
}

#[cfg(test)]
mod tests;
