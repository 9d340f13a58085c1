//! The one state machine of this process, and who the successor is.

use std::sync::{Mutex, PoisonError};

use super::error::HandoffError;
use super::machine::{Action, Event, State};

#[derive(Debug)]
struct Process {
    state: State,
    successor: u32,
}

static PROCESS: Mutex<Process> = Mutex::new(Process {
    state: State::Running,
    successor: 0,
});

/// Begins an attempt, or says who is in the way.
pub(super) fn trigger() -> Result<(), HandoffError> {
    let mut process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
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
    let mut process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
    let (next, actions) = process.state.on(event);
    process.state = next;
    (next, actions)
}

pub(super) fn state() -> State {
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner).state
}

pub(super) fn set_successor(pid: u32) {
    PROCESS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .successor = pid;
}
