//! The one state machine of this process, and who the successor is.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use crate::error::HandoffError;
use crate::link::life::Life;
use crate::notify::{MainPid, Notify, StandIn};
use crate::protocol::machine::{Action, Event, State};

#[derive(Debug)]
struct Process {
    state: State,
    successor: u32,
    /// The successor that this process has started itself, which is in its unit.
    child: Option<u32>,
    /// Workers that have not ended.
    workers: usize,
    /// Somebody may have what this process handed over of whom nothing is known here.
    lost_sight: bool,
}

impl Process {
    /// Whether nobody can have it but a successor that serves, and so many workers.
    fn knows(&self, workers: usize) -> bool {
        !self.lost_sight && self.workers == workers
    }
}

fn process() -> MutexGuard<'static, Process> {
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

static PROCESS: Mutex<Process> = Mutex::new(Process {
    state: State::Running,
    successor: 0,
    child: None,
    workers: 0,
    lost_sight: false,
});

/// Begins an attempt, or says who is in the way.
pub(super) fn trigger() -> Result<(), HandoffError> {
    let mut process = process();
    let (next, actions) = process.state.on(Event::Trigger);
    process.state = next;
    match actions {
        [Action::RefuseHandedOver] => Err(HandoffError::handed_over(process.successor)),
        [Action::RefuseBusy] => Err(HandoffError::busy()),
        _ => Ok(()),
    }
}

/// What follows for the attempt that is under way; only its owner may tell.
pub(super) fn tell(event: Event) -> (State, &'static [Action]) {
    tell_and(event, |_| {})
}

/// The same, and does something before anybody else can look at the state.
pub(super) fn tell_and(event: Event, then: impl FnOnce(&[Action])) -> (State, &'static [Action]) {
    let mut process = process();
    let before = process.state;
    let (next, actions) = before.on(event);
    process.state = next;
    process.workers += usize::from(before == State::Draining && event == Event::Release);
    process.lost_sight |= actions.contains(&Action::LoseSight);
    then(actions);
    let news = main_pid(before, next, process.child);
    if next == State::Running {
        process.child = None;
    }
    drop(process);
    if let Some(news) = news {
        news.tell();
    }
    (next, actions)
}

/// Runs `seal` if nobody but this process accepts, or may at any moment, from what is not marked as handed over. No attempt
/// goes on meanwhile. Returns whether it was done.
pub(crate) fn while_alone(seal: impl FnOnce() -> bool) -> bool {
    let process = process();
    process.knows(0) && process.state.is_settled() && seal()
}

/// Whether nobody can have what was handed over but the successor that serves, and so many workers.
pub(super) fn knows_who_has_it(workers: usize) -> bool {
    process().knows(workers)
}

/// Workers from before an exec.
pub(super) fn workers_came(count: usize) {
    process().workers += count;
}

/// Unless it has said so before, something may have come between, such as a process that was about to take over from it.
pub(super) fn worker_ended(on_purpose: bool) {
    let mut process = process();
    process.workers = process.workers.saturating_sub(1);
    process.lost_sight |= !on_purpose;
}

/// A process has ended as far as this one can see.
pub(super) fn lose_sight() {
    process().lost_sight = true;
}

/// What the service manager has to hear of a step. That the successor is the main process it
/// hears before COMMIT is written: whoever accepts must not be ended with somebody else.
fn main_pid(before: State, next: State, child: Option<u32>) -> Option<MainPid> {
    let child = child.filter(|_| before != next)?;
    match next {
        State::Committing => Some(MainPid::Successor(child)),
        State::Running => Some(MainPid::Own),
        _ => None,
    }
}

/// Becomes the main process once more, by way of a stand-in. Not while an attempt is under way: its successor has said that
/// it is the main process; nor after COMMIT, when it is.
pub(super) async fn take_main_place() {
    let manager = Notify::from_env();
    let stand_in = loop {
        match while_running(|| StandIn::change_places(&manager)) {
            Ok(stand_in) => break stand_in,
            Err(State::Draining) => return,
            Err(_) => sleep(LOOK).await,
        }
    };
    match stand_in {
        Ok(stand_in) => {
            if let Some(mut life) = Life::of_adopted(stand_in.pid) {
                // Whoever waits for all children of this process may have been faster.
                let _ = life.ended().await;
            }
        }
        Err(_error) => crate::log::not_notified(&_error),
    }
}

/// Does something before an attempt can begin; or the state, if one has.
fn while_running<T>(act: impl FnOnce() -> T) -> Result<T, State> {
    let process = process();
    match process.state {
        State::Running => Ok(act()),
        state => Err(state),
    }
}

/// How often it is looked whether an attempt is over.
const LOOK: Duration = Duration::from_millis(200);

pub(super) fn state() -> State {
    process().state
}

/// This process has a successor, which is the next main one of its unit if it was started here and
/// is no worker.
pub(super) fn started(pid: u32, is_next_main: bool) {
    let mut process = process();
    process.successor = pid;
    process.child = is_next_main.then_some(pid);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_what_was_handed_over_is_known_while_every_worker_is_accounted_for() {
        let mut process = Process {
            state: State::Running,
            successor: 0,
            child: None,
            workers: 1,
            lost_sight: false,
        };
        assert!(process.knows(1) && !process.knows(0) && !process.knows(2));
        process.lost_sight = true;
        assert!(!process.knows(1));
    }

    #[test]
    fn the_manager_hears_of_the_successor_before_it_accepts_and_of_us_when_it_is_gone() {
        use State as S;
        let (told, child) = (|a, b| main_pid(a, b, Some(7)), Some(MainPid::Own));
        assert_eq!(told(S::Ready, S::Committing), Some(MainPid::Successor(7)));
        assert_eq!(told(S::Committing, S::Draining), None);
        for state in [
            S::AwaitReady,
            S::Ready,
            S::Committing,
            S::Draining,
            S::Killing,
        ] {
            assert_eq!(told(state, S::Running), child, "{state:?}");
            assert_eq!(told(state, state), None);
            assert_eq!(main_pid(state, S::Running, None), None, "not our child");
        }
    }
}
