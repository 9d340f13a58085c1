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
pub(super) enum State {
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
pub(super) enum Event {
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
pub(super) enum Action {
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
    pub(super) fn on(self, event: Event) -> (Self, &'static [Action]) {
        use {Action as A, Event as E, State as S};
        match (self, event) {
            (S::Running, E::Trigger) => (S::Preflight, &[]),
            (S::Draining, E::Trigger) => (self, &[A::RefuseHandedOver]),
            (_, E::Trigger) => (self, &[A::RefuseBusy]),

            (S::Preflight, E::Passed) => (S::Spawning, &[]),
            (S::Preflight | S::Spawning, E::Failed | E::Stop) => (S::Running, &[]),
            (S::Spawning, E::Spawned) => (S::AwaitReady, &[A::Introduce]),

            (S::AwaitReady, E::Extend) => (self, &[A::Extend]),
            (S::AwaitReady, E::Ready) => (S::Ready, &[]),
            (S::AwaitReady, E::Late) => (S::RollingBack, &[A::Abort]),

            (S::Ready, E::Commit) => (S::Committing, &[]),
            (S::Committing, E::Committed) => (S::Draining, &[A::HandOver]),

            // COMMIT or BESIDE could not be written, so no process has read it.
            (S::AwaitReady | S::Ready | S::Committing | S::Joining, E::Lost) => {
                (S::RollingBack, &[A::Abort])
            }
            (S::AwaitReady | S::Ready, E::Stop) => (S::RollingBack, &[A::Abort]),

            (S::Ready, E::Join) => (S::Joining, &[]),
            (S::Joining, E::Joined) => (S::Beside, &[]),
            (S::Beside, E::Commit) => (S::Confirming, &[]),
            (S::Confirming, E::Committed) => (S::Draining, &[A::HandOver]),
            (S::Beside, E::Lost | E::Stop) | (S::Confirming, E::Lost) => {
                (S::Withdrawing, &[A::Dismiss])
            }
            (S::Beside, E::Left) => (S::Withdrawing, &[A::Await]),
            (S::AwaitReady | S::Ready | S::Committing, E::Exited)
            | (S::Joining | S::Beside | S::Confirming, E::Exited) => (S::Running, &[A::SendAbort]),
            // It has a deadline of its own. If it does not keep it, it is let go.
            (S::Withdrawing, E::Late) => (S::Running, &[A::LoseSight]),

            (S::RollingBack, E::Late) => (S::Killing, &[A::Kill]),
            // A process that KILL does not end hangs in the kernel; waiting helps nobody.
            (S::Killing, E::Late) => (S::Running, &[]),
            (S::Withdrawing | S::RollingBack | S::Killing, E::Exited) => (S::Running, &[]),

            // It may have had a successor of its own.
            (S::Draining, E::Exited) => (S::Running, &[A::Reclaim, A::LoseSight]),
            (S::Draining, E::Release) => (S::Running, &[A::Reclaim]),

            _ => (self, &[]),
        }
    }

    /// Whether it is settled who may accept: no COMMIT or BESIDE can follow without another trigger.
    pub(super) fn is_settled(self) -> bool {
        matches!(
            self,
            Self::Running | Self::Withdrawing | Self::Draining | Self::RollingBack | Self::Killing
        )
    }

    /// Whether nothing happens from here on until the caller decides.
    pub(super) fn rests(self) -> bool {
        matches!(
            self,
            Self::Running | Self::Ready | Self::Beside | Self::Draining
        )
    }
}

#[cfg(test)]
mod tests;
