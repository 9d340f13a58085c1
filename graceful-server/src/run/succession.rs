//! Who serves next: attempts, the successor that took over or serves beside, what the predecessor says (laws 9, 10 and 11).

use std::{future::pending, io, process::ExitStatus, time::Duration};

use graceful_layer::{Phase, Tracker};
use graceful_listener::{Beside, Candidate, HandoffError, Handover, News, Replacement};
use tokio::{task::JoinError, time::sleep};

use super::Server;
use crate::{
    log,
    restart::{Ask, Reply, RestartError, chain},
};

/// What a generation still has when one too many drains.
const HURRY: Duration = Duration::from_secs(5);

/// A restart that was tried, and who wants to know.
pub(super) struct Attempt {
    outcome: Result<Outcome, HandoffError>,
    reply: Reply,
    /// Whether somebody else has started it.
    stranger: bool,
    /// Whether it was serving beside this process.
    canary: bool,
}

pub(super) enum Outcome {
    HandedOver(Handover),
    Beside(Beside),
}

impl Server {
    /// Has a successor, started or adopted in a task of its own, or lets the one beside go on alone. Meanwhile the next
    /// attempt fails as busy, but that of a signal, whose sender would not hear of it: it waits for the outcome.
    pub(super) fn attempt(&mut self, candidate: Option<Candidate>, ask: Ask) {
        let Ask { beside, reply } = ask;
        let signal = candidate.is_none() && reply.is_none();
        if signal && !beside && self.put_off() {
            return;
        }
        self.stopping &= self.tracker.phase() > Phase::Serving;
        if let Some(refused) = self.no_successor() {
            if let Some(candidate) = candidate {
                candidate.refuse(refused.to_string());
            }
            return answer(reply, Err(refused));
        }
        if let Some(successor) = self.beside.take_if(|_| !beside && candidate.is_none()) {
            self.control.set_beside(None);
            self.attempts.spawn(async move {
                let outcome = successor.commit().await.map(Outcome::HandedOver);
                Attempt {
                    outcome,
                    reply,
                    stranger: false,
                    canary: true,
                }
            });
            return;
        }
        if let Some(canary) = &self.beside {
            let refused = RestartError::canary(canary.pid());
            if let Some(candidate) = candidate {
                candidate.refuse(refused.to_string());
            }
            return answer(reply, Err(refused));
        }
        if beside && graceful_listener::is_worker() {
            return answer(reply, Err(RestartError::not_beside()));
        }
        if signal && graceful_listener::tell_supervisor() {
            return log::left_to_supervisor();
        }
        if candidate.is_none() {
            if let Some(outcome) = graceful_listener::ask_supervisor() {
                return self.wait_for_supervisor(outcome, reply);
            }
        }
        self.manager.restarting();
        // What operators come to does not keep the service alive.
        let operators = self
            .aside
            .listeners()
            .into_iter()
            .chain(self.control.listener());
        let successor = operators.fold(self.successor.clone(), |successor, listener| {
            successor.carry(&*listener)
        });
        let listeners = self.acceptor.listeners();
        self.attempts.spawn(async move {
            let listeners: Vec<_> = listeners.iter().map(AsRef::as_ref).collect();
            let stranger = candidate.is_some();
            let successor = match candidate {
                Some(candidate) => successor.adopt(candidate, &listeners).await,
                None => successor.start(&listeners).await,
            };
            let outcome = match successor {
                Ok(successor) if beside => successor.beside().await.map(Outcome::Beside),
                Ok(successor) => successor.commit().await.map(Outcome::HandedOver),
                Err(error) => Err(error),
            };
            Attempt {
                outcome,
                reply,
                stranger,
                canary: false,
            }
        });
    }

    /// Whether a signal is not for now, or not for this process: it is kept until the outcome of what is under way is known, or
    /// goes to the successor.
    fn put_off(&mut self) -> bool {
        if !self.attempts.is_empty() {
            self.again = true;
        } else if let Some(handover) = &self.handover {
            self.forwarded = Some(handover.forward());
        } else if let Some(left) = &self.left {
            if !left.forward() {
                log::nobody_to_restart(left.pid());
            }
        } else {
            return false;
        }
        true
    }

    /// The supervisor starts the next worker. Once that serves this one is told to drain, and it ends only when whoever
    /// wants to know has heard of it.
    fn wait_for_supervisor(
        &mut self,
        outcome: impl Future<Output = Result<u32, HandoffError>> + Send + 'static,
        reply: Reply,
    ) {
        log::left_to_supervisor();
        let held = self.tracker.beacon("a restart by the supervisor");
        while self.asked.try_join_next().is_some() {}
        self.asked.spawn(async move {
            answer(reply, outcome.await.map_err(RestartError::from));
            drop(held);
        });
    }

    /// Why there can be no successor now.
    fn no_successor(&self) -> Option<RestartError> {
        match &self.handover {
            Some(handover) => Some(RestartError::handed_over(handover.pid())),
            None if self.tracker.phase() > Phase::LameDuck => Some(RestartError::stopping()),
            None => None,
        }
    }

    pub(super) fn attempted(&mut self, attempt: Result<Attempt, JoinError>) {
        self.conclude(attempt);
        if self.attempts.is_empty() && std::mem::take(&mut self.again) {
            self.attempt(None, Ask::RESTART);
        }
    }

    fn conclude(&mut self, attempt: Result<Attempt, JoinError>) {
        // One that was aborted has rolled back, and dropped its reply, which says that the server is stopping.
        let Ok(Attempt {
            outcome,
            reply,
            stranger,
            canary,
        }) = attempt
        else {
            return log::not_restarted_at_stop();
        };
        match outcome {
            Ok(Outcome::Beside(successor)) => {
                log::beside(successor.pid());
                answer(reply, Ok(successor.pid()));
                self.control.set_beside(Some(successor.pid()));
                self.beside = Some(successor);
                self.manager.serving(&self.listeners());
            }
            Ok(Outcome::HandedOver(handover)) => {
                log::restart(handover.pid());
                answer(reply, Ok(handover.pid()));
                self.move_to(Some(&handover));
                self.hurry = Box::pin(handover.hurried());
                // This one drains as well.
                graceful_listener::hurry(HURRY, self.max_draining.saturating_sub(1));
                self.tracker.hand_over();
                self.aside.turn(false);
                if stranger {
                    self.manager.taken_over(handover.pid(), &self.listeners());
                }
                self.manager.restarted(None);
                self.handover = Some(handover);
                self.forwarded = None;
            }
            Err(error) => {
                if canary {
                    // A signal means the next generation, whoever was to be it.
                    self.again |= reply.is_none();
                    self.alone();
                }
                // While another is under way, this one was only refused.
                if self.attempts.is_empty() && self.handover.is_none() {
                    self.manager.restarted(Some(&error));
                }
                answer(reply, Err(error.into()));
            }
        }
    }

    /// The successor died, and what was passed on to it is to be done here, now that this process serves.
    pub(super) fn retry(&mut self) {
        self.forwarded = None;
        self.attempt(None, Ask::RESTART);
    }

    /// Idle connections go to the successor from now on, if it takes any, or no longer.
    fn move_to(&self, handover: Option<&Handover>) {
        let Some(exit) = &self.exit else {
            return;
        };
        match handover.and_then(Handover::mover) {
            // The way has to be there before anybody is sent on it.
            Some(mover) => {
                exit.set(Some(mover));
                self.tracker.set_moving(true);
            }
            None => {
                self.tracker.set_moving(false);
                exit.set(None);
            }
        }
    }

    /// The predecessor said something, or is gone.
    pub(super) fn hear(&mut self, news: Option<News>) {
        match news {
            // Where everything is about to be cut it is better off with the predecessor.
            Some(News::Connection(moved)) if self.tracker.phase() <= Phase::Draining => {
                self.acceptor.adopt(*moved);
            }
            Some(News::Restart) => self.attempt(None, Ask::RESTART),
            Some(News::Prepare(preparation)) => preparation.answer(&self.successor),
            Some(News::Replaced(replacement)) => self.replaced(*replacement),
            Some(News::Committed) => {
                self.stand_back(false);
                self.manager.serving(&self.listeners());
                self.alone();
            }
            // Whoever serves beside this process goes on alone.
            Some(News::Dismissed) => _ = self.tracker.begin(),
            Some(_) => {}
            None => self.listening = false,
        }
    }

    /// The supervisor has another worker serve in the place of this one.
    fn replaced(&mut self, replacement: Replacement) {
        let mut listeners = self.listeners();
        listeners.extend(self.control.listener());
        let listeners: Vec<_> = listeners.iter().map(AsRef::as_ref).collect();
        let outcome = replacement.hand_over(&listeners).map(Outcome::HandedOver);
        if outcome.is_err() {
            self.tracker.begin();
        }
        self.attempted(Ok(Attempt {
            outcome,
            reply: None,
            stranger: false,
            canary: false,
        }));
    }

    /// The successor beside this process has ended: it was told to, or died.
    pub(super) fn parted(&mut self, status: Option<ExitStatus>) {
        self.beside = None;
        self.control.set_beside(None);
        log::parted(status);
        self.alone();
    }

    /// While two processes serve beside each other, operators are answered by the elder one: commands mean the service,
    /// and probes are about what stays whatever becomes of the canary.
    pub(super) fn stand_back(&mut self, back: bool) {
        self.aside.turn(!back);
        self.control.pause(back);
    }

    /// Nobody serves beside this process, or no longer.
    pub(super) fn alone(&self) {
        if let Some(hook) = &self.on_alone {
            hook();
        }
    }

    /// The successor died, and the listeners are this process's again. If it still drains it goes back to serving, and
    /// nobody is refused (law 10).
    pub(super) fn reclaim(&mut self, ended: io::Result<Option<ExitStatus>>) {
        let handover = self.handover.take();
        let status = match ended {
            // It was stopped, or has handed over in its turn: nobody wants the listeners back.
            Ok(None) => {
                self.move_to(None);
                if let (Some(left), Some(false)) = (&handover, self.forwarded.take()) {
                    log::nobody_to_restart(left.pid());
                }
                self.left = handover;
                self.aside.close();
                self.control.close();
                return self.acceptor.close();
            }
            Ok(Some(status)) => status.to_string(),
            Err(error) => error.to_string(),
        };
        self.hurry = Box::pin(pending());
        // Otherwise they still may move until they are served as before: in between they would be told to close.
        if !self.tracker.reclaim() {
            self.move_to(None);
        } else {
            if let Some(exit) = &self.exit {
                exit.set(None);
            }
            graceful_listener::reclaimed();
            self.accepting = Some(self.tracker.beacon("accepting"));
            self.manager.reclaimed(&status);
            self.alone();
            self.begin();
            log::reclaimed(status);
        }
    }
}

fn answer(reply: Reply, outcome: Result<u32, RestartError>) {
    match &outcome {
        Err(error) if error.is_stopping() => log::not_restarted_at_stop(),
        Err(error) => log::not_restarted(chain(error)),
        Ok(_) => {}
    }
    if let Some(reply) = reply {
        reply(outcome);
    }
}

/// Waits for the end of the successor; for ever without one.
pub(super) async fn gone(handover: &mut Option<Handover>) -> io::Result<Option<ExitStatus>> {
    match handover {
        Some(handover) => handover.gone().await,
        None => pending().await,
    }
}

/// Never ready.
pub(super) async fn overhear(left: &mut Option<Handover>) {
    match left {
        Some(left) => left.overhear().await,
        None => pending().await,
    }
}

/// Never ready.
pub(super) async fn cut_after(tracker: Tracker, within: Duration) -> Duration {
    sleep(within).await;
    tracker.cutoff();
    pending().await
}

/// Waits for the end of the successor beside this process; for ever without one.
pub(super) async fn parted(beside: &mut Option<Beside>) -> Option<ExitStatus> {
    match beside {
        Some(beside) => beside.gone().await,
        None => pending().await,
    }
}

/// Never ready.
pub(super) async fn reparented() {
    graceful_listener::reparented().await;
    pending().await
}
