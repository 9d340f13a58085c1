//! One attempt to have a successor: does to the outside world what the machine says, and tells
//! the machine what the world answers. Guards laws 9 to 11.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::getpid;
use tokio::time::sleep_until;

use super::candidate::Candidate;
use super::error::HandoffError;
use super::frame::Frame;
use super::introduction::{agree, introduction};
use super::machine::{Action, Event, State};
use super::patience::Patience;
use super::predecessor::generation;
use super::preflight;
use super::process;
use super::rollback::Rollback;
use super::spawn::{Plan, spawn};
use super::started::{Heard, Started};
use super::state;
use crate::carried::Carry;
use crate::log;

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
    /// Positions of the listeners that the successor does not want.
    unclaimed: Vec<u32>,
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
        candidate: Option<Candidate>,
    ) -> Result<Self, HandoffError> {
        if let Err(error) = process::trigger() {
            if let Some(candidate) = candidate {
                candidate.refuse(error.to_string());
            }
            return Err(error);
        }
        Ok(Self::new(plan, listeners, candidate))
    }

    fn new(plan: Plan, listeners: Vec<Arc<dyn Carry>>, candidate: Option<Candidate>) -> Self {
        Self {
            candidate,
            patience: Patience::new(plan.ready_timeout),
            plan,
            listeners,
            states: Vec::new(),
            pid: 0,
            started: None,
            rollback: None,
            greeted: false,
            unclaimed: Vec::new(),
            cause: None,
            over: false,
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
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
        self.cause
            .take()
            .unwrap_or_else(|| HandoffError::aborted("the caller wants it no more"))
    }

    /// Tells the machine what happened and does what it says.
    pub(super) fn tell(&mut self, event: Event) {
        if self.over {
            return;
        }
        let (state, actions) = process::tell(event);
        self.over = state == State::Running;
        log::transition(event, state, self.pid);
        for action in actions {
            self.perform(*action);
        }
    }

    /// Waits until the successor has died, or leaves on purpose, without bound. Cancel safe.
    pub(super) async fn died(&mut self) -> io::Result<Option<ExitStatus>> {
        match &mut self.started {
            Some(started) => started.died().await,
            None => std::future::pending().await,
        }
    }

    /// Gives the successor away as a worker; from here on there may be another attempt.
    pub(super) fn release(&mut self) -> Option<Started> {
        let started = self.started.take();
        self.tell(Event::Release);
        started
    }

    /// Does the work of a state until something happens in it. Cancel safe.
    async fn next(&mut self, state: State) -> Option<Event> {
        match state {
            State::Preflight => Some(self.preflight().await),
            State::Spawning => Some(self.spawn().await),
            State::AwaitReady => self.await_ready().await,
            State::Committing => Some(self.commit()),
            State::RollingBack | State::Killing => self.roll_back().await,
            State::Running | State::Ready | State::Draining => std::future::pending().await,
        }
    }

    async fn preflight(&mut self) -> Event {
        let passed = match preflight::allowed(&self.plan) {
            Ok(()) if self.candidate.is_none() => preflight::startable(&self.plan, getpid()).await,
            verdict => verdict,
        };
        match passed {
            Ok(()) => Event::Passed,
            Err(error) => self.fail(Event::Failed, error),
        }
    }

    async fn spawn(&mut self) -> Event {
        match state::frames(&self.plan.states) {
            Ok(frames) => self.states = frames,
            Err(error) => return self.fail(Event::Failed, error),
        }
        let waiting = self.candidate.take().and_then(Candidate::into_started);
        let started = match waiting {
            Some(started) => Ok(started),
            None => spawn(&self.plan).await,
        };
        match started {
            Ok(started) => {
                self.pid = started.pid;
                process::started(self.pid, started.is_child() && self.plan.worker.is_none());
                self.started = Some(started);
                Event::Spawned
            }
            Err(error) => self.fail(Event::Failed, error),
        }
    }

    async fn await_ready(&mut self) -> Option<Event> {
        let Some(started) = &mut self.started else {
            return Some(Event::Lost);
        };
        let heard = tokio::select! {
            biased;
            heard = started.hear() => heard,
            () = sleep_until(self.patience.deadline) => {
                let error = HandoffError::timed_out(self.pid, self.patience.elapsed());
                return Some(self.fail(Event::Late, error));
            }
        };
        match heard {
            Heard::Frame(frame) => self.understand(frame),
            Heard::Trouble(error) => Some(self.fail(Event::Lost, error)),
            Heard::Exit(status) => Some(self.found_exited(status)),
        }
    }

    fn understand(&mut self, frame: Frame) -> Option<Event> {
        match frame {
            Frame::Hello(theirs) if !self.greeted => match agree(&theirs) {
                Ok(()) => {
                    self.greeted = true;
                    None
                }
                Err(error) => Some(self.fail(Event::Lost, error)),
            },
            Frame::Ready { unclaimed } if self.greeted => {
                self.unclaimed = unclaimed;
                Some(Event::Ready)
            }
            Frame::Extend { ms } if self.greeted => {
                self.patience.ask(Duration::from_millis(ms));
                Some(Event::Extend)
            }
            Frame::Unknown { .. } => None,
            Frame::Abort { reason } => Some(self.fail(Event::Lost, HandoffError::aborted(reason))),
            frame => {
                let what = format!("a frame of type {} is out of turn", frame.kind());
                Some(self.fail(Event::Lost, HandoffError::protocol(what)))
            }
        }
    }

    /// Writes COMMIT if there is still somebody to read it. The successor has read all there was
    /// before, so there is room for the five bytes. If there is not, a part of them may be on its
    /// way, and nobody may live to read it.
    fn commit(&mut self) -> Event {
        let Some(started) = &mut self.started else {
            return Event::Lost;
        };
        if let Some(status) = started.try_exited() {
            return self.found_exited(Some(status));
        }
        match started.channel.post(&Frame::Commit, Vec::new()) {
            Ok(true) => Event::Committed,
            Ok(false) => {
                started.kill();
                self.fail(Event::Lost, HandoffError::protocol("it does not read"))
            }
            Err(error) => self.fail(Event::Lost, error),
        }
    }

    async fn roll_back(&mut self) -> Option<Event> {
        if let Some(rollback) = &mut self.rollback {
            rollback.run().await;
        }
        self.over = true;
        None
    }

    fn found_exited(&mut self, status: Option<ExitStatus>) -> Event {
        let error = HandoffError::exited(self.pid, status);
        self.fail(Event::Exited, error)
    }

    fn fail(&mut self, event: Event, cause: HandoffError) -> Event {
        if let Some(candidate) = self.candidate.take() {
            candidate.refuse(cause.to_string());
        }
        self.cause = Some(cause);
        event
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Introduce => self.introduce(),
            Action::Extend => self.patience.extend(),
            Action::Abort => self.abort(),
            Action::HandOver => self.hand_over(),
            Action::Reclaim => self
                .listeners
                .iter()
                .for_each(|listener| listener.reclaim()),
            // For whoever triggers, and for the rollback.
            Action::RefuseBusy | Action::RefuseHandedOver | Action::Kill => {}
        }
    }

    /// What does not fit into the socket at once is sent while we wait for the answer. If nobody
    /// takes it, that wait finds out why.
    fn introduce(&mut self) {
        self.patience = Patience::new(self.plan.ready_timeout);
        if let Some(started) = &self.started {
            let states = std::mem::take(&mut self.states);
            let states = states.into_iter().map(|frame| (frame, Vec::new()));
            let introduction = introduction(&self.listeners, self.plan.worker.is_some());
            let parcels = introduction.into_iter().chain(states);
            for (frame, fds) in parcels.chain([(Frame::Delivered, Vec::new())]) {
                let _ = started.channel.post(&frame, fds);
            }
        }
    }

    fn abort(&mut self) {
        let cause = self.cause.as_ref().map(ToString::to_string);
        let reason = cause.unwrap_or_else(|| "called off".to_owned());
        self.rollback = self
            .started
            .take()
            .map(|started| Rollback::begin(started, reason));
    }

    /// Lets go of what the successor has taken, but keeps it open, to be able to take it back.
    /// What it has not taken is the caller's alone again, to be closed.
    fn hand_over(&mut self) {
        let taken = |(index, _): &(u32, _)| !self.unclaimed.contains(index);
        let listeners = std::mem::take(&mut self.listeners);
        let listeners = (0..)
            .zip(listeners)
            .filter(taken)
            .map(|(_, listener)| listener);
        self.listeners = listeners.inspect(|listener| listener.hand_over()).collect();
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.tell(Event::Stop);
        if let Some(rollback) = self.rollback.take() {
            rollback.run_in_background();
        }
    }
}

#[cfg(test)]
mod tests;
