//! One attempt to have a successor: does to the outside world what the machine says, and tells
//! the machine what the world answers. Guards laws 9 to 11.

mod steps;

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;

use super::calls::{generation, hurry, owns, somebody_else_has_it};
use super::candidate::Candidate;
use super::introduction::introduction;
use super::moving::Moves;
use super::patience::Patience;
use super::plan::Plan;
use super::process;
use super::rollback::Rollback;
use super::started::{Heard, Started};
use crate::carried::Carry;
use crate::error::HandoffError;
use crate::link::channel::Parcel;
use crate::log;
use crate::protocol::frame::Frame;
use crate::protocol::machine::{Action, Event, State};

/// The owner of the state machine from the trigger until the machine is `Running` again.
/// Dropping it before COMMIT rolls back in the background.
#[derive(Debug)]
pub(super) struct Attempt {
    plan: Plan,
    listeners: Vec<Arc<dyn Carry>>,
    /// Who asked to take over, until `Spawning`; nobody, if a process is to be started.
    candidate: Option<Candidate>,
    /// The application's state for the successor, from `Spawning` until it is sent.
    states: Vec<Frame>,
    pid: u32,
    /// The successor, from `Spawned` on, and then what ends it.
    started: Option<Started>,
    rollback: Option<Rollback>,
    greeted: bool,
    /// Positions of the listeners that clients come to.
    service: Vec<u32>,
    /// Whether the successor has asked for this, and was not started here.
    asked: bool,
    /// Positions of the listeners that the successor does not want.
    unclaimed: Vec<u32>,
    /// Whether it takes idle connections, and those on their way to it.
    takes: bool,
    /// Whether, as a worker, it hands over to the next one by itself.
    relays: bool,
    /// The names of the listeners, where the successor knows them by other numbers.
    names: Vec<String>,
    moves: Option<Arc<Moves>>,
    patience: Patience,
    /// What the caller is told if the attempt fails.
    cause: Option<HandoffError>,
    /// Whether the machine has left this attempt behind; another may own it since.
    over: bool,
}

impl Attempt {
    /// Begins, unless another attempt is under way or has succeeded.
    pub(super) fn begin(
        plan: Plan,
        listeners: Vec<Arc<dyn Carry>>,
        service: Vec<u32>,
        candidate: Option<Candidate>,
    ) -> Result<Self, HandoffError> {
        if let Err(error) = process::trigger() {
            if let Some(candidate) = candidate {
                candidate.refuse(error.to_string());
            }
            return Err(error);
        }
        Ok(Self::new(plan, listeners, service, candidate))
    }

    fn new(
        plan: Plan,
        listeners: Vec<Arc<dyn Carry>>,
        service: Vec<u32>,
        candidate: Option<Candidate>,
    ) -> Self {
        Self {
            service,
            asked: candidate.is_some(),
            // One that asked was greeted before it was let in.
            greeted: candidate.is_some(),
            candidate,
            patience: Patience::new(plan.ready_timeout),
            plan,
            listeners,
            states: Vec::new(),
            pid: 0,
            started: None,
            rollback: None,
            unclaimed: Vec::new(),
            takes: false,
            relays: false,
            names: Vec::new(),
            moves: None,
            cause: None,
            over: false,
        }
    }

    /// A hand-over that a supervisor has made: its next worker serves already, and `started` is the way to it.
    pub(super) fn made(
        started: Started,
        takes: bool,
        listeners: Vec<Arc<dyn Carry>>,
    ) -> Result<Self, HandoffError> {
        let names = listeners.iter().map(|one| one.name().to_owned()).collect();
        let mut attempt = Self::begin(Plan::default(), listeners, Vec::new(), None)?;
        attempt.pid = started.pid;
        process::started(started.pid, false);
        attempt.started = Some(started);
        (attempt.takes, attempt.names) = (takes, names);
        for event in [
            Event::Passed,
            Event::Spawned,
            Event::Ready,
            Event::Commit,
            Event::Committed,
        ] {
            attempt.tell(event);
        }
        Ok(attempt)
    }

    /// Whether the successor takes idle connections, and hands over to a next worker by itself.
    pub(super) fn abilities(&self) -> (bool, bool) {
        (self.takes, self.relays)
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Notes the process of the successor: at its start, and again at its HELLO, because the started process may be its launcher.
    fn met(&mut self, started: Started) {
        self.pid = started.pid;
        process::started(self.pid, started.is_ours() && self.plan.worker.is_none());
        self.started = Some(started);
    }

    /// Of the successor.
    pub(super) fn generation(&self) -> u32 {
        let next = || generation().saturating_add(1);
        self.plan.worker.unwrap_or_else(next)
    }

    /// Goes on until the machine rests, and returns where. Cancel safe.
    pub(super) async fn settle(&mut self) -> State {
        while !self.over && !process::state().rests() {
            if let Some(event) = self.next(process::state()).await {
                self.tell(event);
            }
        }
        if self.over {
            State::Running
        } else {
            process::state()
        }
    }

    /// Why it came to nothing.
    pub(super) fn cause(&mut self) -> HandoffError {
        self.cause_or("the caller wants it no more")
    }

    /// The same, if nothing else is known.
    pub(super) fn cause_or(&mut self, reason: &str) -> HandoffError {
        let cause = self.cause.take();
        cause.unwrap_or_else(|| HandoffError::aborted(reason))
    }

    /// Tells the machine what happened and does what it says.
    pub(super) fn tell(&mut self, event: Event) {
        if self.over {
            return;
        }
        // Marked before anybody can seal what the successor has.
        let (state, actions) = process::tell_and(event, |actions| {
            if actions.contains(&Action::HandOver) {
                self.hand_over();
            }
        });
        self.over = state == State::Running;
        log::transition(event, state, self.pid);
        for action in actions {
            self.perform(*action);
        }
    }

    /// Waits until the successor has died, or leaves on purpose, without bound. Cancel safe.
    pub(super) async fn died(&mut self) -> io::Result<Option<ExitStatus>> {
        let (Some(started), Some(moves)) = (&mut self.started, &self.moves) else {
            return std::future::pending().await;
        };
        let died = started.died(moves, hurry).await;
        if matches!(died, Ok(None)) {
            // Nobody wants them back, and clients must not queue at them.
            self.listeners.clear();
        }
        died
    }

    /// Hears what it still says after that; never ready. Cancel safe.
    pub(super) async fn overhear(&mut self) {
        match (&mut self.started, &self.moves) {
            (Some(started), Some(moves)) => started.overhear(moves, hurry).await,
            _ => std::future::pending().await,
        }
    }

    pub(super) fn started(&self) -> Option<&Started> {
        self.started.as_ref()
    }

    /// The way for idle connections, if the successor takes any.
    pub(super) fn moves(&self) -> Option<&Arc<Moves>> {
        self.moves.as_ref().filter(|_| self.takes)
    }

    /// Waits until a successor that serves beside us has ended, whoever wanted that, without bound:
    /// its status, if it was not waited for in vain. Cancel safe.
    pub(super) async fn parted(&mut self) -> Option<ExitStatus> {
        while let Some(started) = &mut self.started {
            let event = match started.hear().await {
                Heard::Frame(Frame::Leave) => {
                    log::canary_leaves(self.pid);
                    Event::Left
                }
                Heard::Frame(_) => continue,
                Heard::Trouble(error) => self.fail(Event::Lost, error),
                Heard::Exit(status) => {
                    if status.is_none() {
                        process::lose_sight();
                    }
                    self.tell(Event::Exited);
                    return status;
                }
            };
            self.tell(event);
        }
        self.settle().await;
        None
    }

    /// Gives the successor away as a worker; from here on there may be another attempt.
    pub(super) fn release(&mut self) -> Option<Started> {
        let started = self.started.take();
        self.tell(Event::Release);
        started
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Introduce => self.patience = Patience::new(self.plan.ready_timeout),
            Action::Extend => self.patience.extend(),
            Action::Abort => self.end(Rollback::begin),
            Action::Dismiss => self.end(Rollback::dismiss),
            Action::Await => self.end(|started, _| Rollback::wait(started)),
            Action::SendAbort => self.send_abort(),
            Action::HandOver => {
                if self.asked {
                    somebody_else_has_it();
                }
                self.say_sole();
            }
            Action::Reclaim => self
                .listeners
                .iter()
                .for_each(|listener| listener.reclaim()),
            // For whoever triggers, for the rollback, and for `process`.
            Action::RefuseBusy | Action::RefuseHandedOver | Action::Kill | Action::LoseSight => {}
        }
    }

    /// Who we are, all listeners and the state, as it is said before the successor runs: from the moment it is there it
    /// holds the listeners, also if this process is killed.
    fn introduction(&mut self) -> Vec<Parcel> {
        let mut carried = self.listeners.clone();
        carried.extend(self.plan.relieves.iter().map(|channel| channel.0.clone()));
        let mut parcels = introduction(generation(), &carried);
        if self.asked {
            parcels.retain(|(frame, _)| !matches!(frame, Frame::Hello(_)));
        }
        let states = std::mem::take(&mut self.states).into_iter();
        parcels.extend(states.map(|frame| (frame, Vec::new())));
        // Nor is one the first if this process has a predecessor of its own that serves still.
        if self.plan.worker.is_some() && (self.plan.relieves.is_some() || !owns()) {
            parcels.push((Frame::Relief, Vec::new()));
        }
        parcels.push((Frame::Delivered, Vec::new()));
        parcels
    }

    /// Tells the successor of which listeners it will be the last to have once this process is gone. A supervisor stays.
    fn say_sole(&self) {
        let Some(started) = &self.started else { return };
        if self.plan.worker.is_some() {
            return;
        }
        let sole = self.listeners.iter().filter(|one| one.is_sole());
        let names: Vec<_> = sole.map(|one| one.name().to_owned()).collect();
        if process::knows_who_has_it(0) {
            started.channel.say_sole(names);
        }
    }

    /// The reason that the successor receives with ABORT.
    fn reason(&self) -> String {
        let cause = self.cause.as_ref().map(ToString::to_string);
        cause.unwrap_or_else(|| "called off".to_owned())
    }

    fn send_abort(&self) {
        if let Some(started) = &self.started {
            let reason = self.reason();
            let _ = started.channel.post(&Frame::Abort { reason }, Vec::new());
        }
    }

    fn end(&mut self, how: impl FnOnce(Started, String) -> Rollback) {
        let reason = self.reason();
        self.rollback = self.started.take().map(|started| how(started, reason));
    }

    /// Lets go of what the successor has taken, but keeps it open, to be able to take it back.
    /// What it has not taken is the caller's alone again, to be closed.
    fn hand_over(&mut self) {
        if let Some(started) = &self.started {
            let names = std::mem::take(&mut self.names);
            let moves = Moves::new(started.channel.clone(), self.unclaimed.clone(), names);
            self.moves = Some(Arc::new(moves));
        }
        self.listeners = self.taken().cloned().collect();
        self.listeners
            .iter()
            .for_each(|listener| listener.hand_over());
    }

    /// What the successor has claimed of the listeners.
    fn taken(&self) -> impl Iterator<Item = &Arc<dyn Carry>> {
        let taken = |(index, _): &(u32, _)| !self.unclaimed.contains(index);
        (0..)
            .zip(&self.listeners)
            .filter(taken)
            .map(|(_, listener)| listener)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // What was not true at COMMIT, because our own predecessor drained still, may be by now. From here on there is no
        // way back to what was handed over.
        if !self.over && process::state() == State::Draining {
            self.say_sole();
        }
        self.tell(Event::Stop);
        if let Some(rollback) = self.rollback.take() {
            rollback.run_in_background();
        }
    }
}

#[cfg(test)]
mod tests;
