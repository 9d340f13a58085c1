//! The work of each state: what is done in it until the world answers.

use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::getpid;
use tokio::time::sleep_until;

use super::Attempt;
use crate::error::HandoffError;
use crate::handoff::candidate::Candidate;
use crate::handoff::introduction::agree;
use crate::handoff::preflight;
use crate::handoff::spawn::spawn;
use crate::handoff::started::Heard;
use crate::handoff::state;
use crate::protocol::frame::Frame;
use crate::protocol::machine::{Event, State};

impl Attempt {
    /// Does the work of a state until something happens in it. Cancel safe.
    pub(super) async fn next(&mut self, state: State) -> Option<Event> {
        match state {
            State::Preflight => Some(self.preflight().await),
            State::Spawning => Some(self.spawn().await),
            State::AwaitReady => self.await_ready().await,
            State::Committing | State::Confirming => Some(self.commit(state)),
            State::Joining => Some(self.say(Frame::Beside, state, Event::Joined)),
            State::RollingBack | State::Killing | State::Withdrawing => self.roll_back().await,
            State::Running | State::Ready | State::Beside | State::Draining => {
                std::future::pending().await
            }
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
        let introduction = self.introduction();
        let started = match waiting {
            Some(started) => {
                started.channel.post_all(&introduction);
                Ok(started)
            }
            None => spawn(&self.plan, &introduction).await,
        };
        match started {
            Ok(started) => {
                self.met(started);
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

    pub(super) fn understand(&mut self, frame: Frame) -> Option<Event> {
        match frame {
            Frame::Hello(theirs) if !self.greeted => match agree(&theirs) {
                Ok(()) => {
                    self.greeted = true;
                    if let Some(mut started) = self.started.take() {
                        started.greeted(theirs.pid);
                        self.met(started);
                    }
                    None
                }
                Err(error) => Some(self.fail(Event::Lost, error)),
            },
            Frame::Ready { unclaimed } if self.greeted => Some(self.ready(unclaimed)),
            Frame::Extend { ms } if self.greeted => {
                self.patience.ask(Duration::from_millis(ms));
                Some(Event::Extend)
            }
            Frame::Takes if self.greeted => {
                self.takes = true;
                None
            }
            Frame::Relays if self.greeted => {
                self.relays = true;
                None
            }
            Frame::Unknown { .. } => None,
            Frame::Abort { reason } => Some(self.fail(Event::Lost, HandoffError::aborted(reason))),
            frame => {
                let what = format!("a frame of type {} is out of turn", frame.kind());
                Some(self.fail(Event::Lost, HandoffError::protocol(what)))
            }
        }
    }

    fn ready(&mut self, unclaimed: Vec<u32>) -> Event {
        // The channel to a relieved worker was sent behind the listeners. An older release knows no better than to name it.
        let sent = self.listeners.len() + usize::from(self.plan.relieves.is_some());
        if let Some(none) = unclaimed.iter().find(|index| **index as usize >= sent) {
            let what = format!("READY names listener {none} of {sent}");
            return self.fail(Event::Lost, HandoffError::protocol(what));
        }
        self.unclaimed = unclaimed;
        match self.would_end_the_service() {
            true => self.fail(Event::Lost, HandoffError::nothing_claimed()),
            false => Event::Ready,
        }
    }

    /// Whether nobody would serve any more where clients come. A successor that was started here runs by this
    /// process's own configuration and may have moved elsewhere; one that asked has another.
    fn would_end_the_service(&self) -> bool {
        let unwanted = |index| self.unclaimed.contains(index);
        self.asked && !self.service.is_empty() && self.service.iter().all(unwanted)
    }

    /// Writes COMMIT or BESIDE if there is still somebody to read it. The successor has read all there
    /// was before, so there is room for the five bytes. If there is not, a part of them may be on its
    /// way, and nobody may live to read it who does not accept already.
    /// Whoever reads COMMIT accepts at once, and says so: here nobody does from before it is written, however late this thread
    /// gets on.
    pub(super) fn commit(&mut self, state: State) -> Event {
        self.taken().for_each(|listener| listener.hand_over());
        let said = self.say(Frame::Commit, state, Event::Committed);
        if said != Event::Committed {
            self.taken().for_each(|listener| listener.reclaim());
        }
        said
    }

    fn say(&mut self, frame: Frame, state: State, said: Event) -> Event {
        let Some(started) = &mut self.started else {
            return Event::Lost;
        };
        if let Some(status) = started.try_exited() {
            return self.found_exited(Some(status));
        }
        match started.channel.post(&frame, Vec::new()) {
            Ok(true) => said,
            Ok(false) => {
                if state != State::Confirming {
                    started.kill();
                }
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

    pub(super) fn fail(&mut self, event: Event, cause: HandoffError) -> Event {
        if let Some(candidate) = self.candidate.take() {
            candidate.refuse(cause.to_string());
        }
        self.cause = Some(cause);
        event
    }
}
