//! The whole table, written out: every state with every event. What is not in a row changes
//! nothing and does nothing.

use super::{Action, Event, State};

const STATES: [State; 13] = [
    State::Running,
    State::Preflight,
    State::Spawning,
    State::AwaitReady,
    State::Ready,
    State::Committing,
    State::Joining,
    State::Beside,
    State::Confirming,
    State::Withdrawing,
    State::Draining,
    State::RollingBack,
    State::Killing,
];

const EVENTS: [Event; 16] = [
    Event::Trigger,
    Event::Passed,
    Event::Spawned,
    Event::Failed,
    Event::Extend,
    Event::Ready,
    Event::Commit,
    Event::Committed,
    Event::Join,
    Event::Joined,
    Event::Left,
    Event::Lost,
    Event::Exited,
    Event::Late,
    Event::Release,
    Event::Stop,
];

type Row = (State, &'static [(Event, State, &'static [Action])]);

/// The arrows that leave a state, or that do something in it.
const TABLE: [Row; 13] = [
    (State::Running, &[(Event::Trigger, State::Preflight, &[])]),
    (
        State::Preflight,
        &[
            (Event::Trigger, State::Preflight, &[Action::RefuseBusy]),
            (Event::Passed, State::Spawning, &[]),
            (Event::Failed, State::Running, &[]),
            (Event::Stop, State::Running, &[]),
        ],
    ),
    (
        State::Spawning,
        &[
            (Event::Trigger, State::Spawning, &[Action::RefuseBusy]),
            (Event::Spawned, State::AwaitReady, &[Action::Introduce]),
            (Event::Failed, State::Running, &[]),
            (Event::Stop, State::Running, &[]),
        ],
    ),
    (
        State::AwaitReady,
        &[
            (Event::Trigger, State::AwaitReady, &[Action::RefuseBusy]),
            (Event::Extend, State::AwaitReady, &[Action::Extend]),
            (Event::Ready, State::Ready, &[]),
            (Event::Lost, State::RollingBack, &[Action::Abort]),
            (Event::Exited, State::Running, &[Action::SendAbort]),
            (Event::Late, State::RollingBack, &[Action::Abort]),
            (Event::Stop, State::RollingBack, &[Action::Abort]),
        ],
    ),
    (
        State::Ready,
        &[
            (Event::Trigger, State::Ready, &[Action::RefuseBusy]),
            (Event::Commit, State::Committing, &[]),
            (Event::Join, State::Joining, &[]),
            (Event::Lost, State::RollingBack, &[Action::Abort]),
            (Event::Exited, State::Running, &[Action::SendAbort]),
            (Event::Stop, State::RollingBack, &[Action::Abort]),
        ],
    ),
    (
        State::Committing,
        &[
            (Event::Trigger, State::Committing, &[Action::RefuseBusy]),
            (Event::Committed, State::Draining, &[Action::HandOver]),
            (Event::Lost, State::RollingBack, &[Action::Abort]),
            (Event::Exited, State::Running, &[Action::SendAbort]),
        ],
    ),
    (
        State::Joining,
        &[
            (Event::Trigger, State::Joining, &[Action::RefuseBusy]),
            (Event::Joined, State::Beside, &[]),
            (Event::Lost, State::RollingBack, &[Action::Abort]),
            (Event::Exited, State::Running, &[Action::SendAbort]),
        ],
    ),
    (
        State::Beside,
        &[
            (Event::Trigger, State::Beside, &[Action::RefuseBusy]),
            (Event::Commit, State::Confirming, &[]),
            (Event::Left, State::Withdrawing, &[Action::Await]),
            (Event::Lost, State::Withdrawing, &[Action::Dismiss]),
            (Event::Exited, State::Running, &[Action::SendAbort]),
            (Event::Stop, State::Withdrawing, &[Action::Dismiss]),
        ],
    ),
    (
        State::Confirming,
        &[
            (Event::Trigger, State::Confirming, &[Action::RefuseBusy]),
            (Event::Committed, State::Draining, &[Action::HandOver]),
            (Event::Lost, State::Withdrawing, &[Action::Dismiss]),
            (Event::Exited, State::Running, &[Action::SendAbort]),
        ],
    ),
    (
        State::Withdrawing,
        &[
            (Event::Trigger, State::Withdrawing, &[Action::RefuseBusy]),
            (Event::Exited, State::Running, &[]),
            (Event::Late, State::Running, &[Action::LoseSight]),
        ],
    ),
    (
        State::Draining,
        &[
            (Event::Trigger, State::Draining, &[Action::RefuseHandedOver]),
            (
                Event::Exited,
                State::Running,
                &[Action::Reclaim, Action::LoseSight],
            ),
            (Event::Release, State::Running, &[Action::Reclaim]),
        ],
    ),
    (
        State::RollingBack,
        &[
            (Event::Trigger, State::RollingBack, &[Action::RefuseBusy]),
            (Event::Exited, State::Running, &[]),
            (Event::Late, State::Killing, &[Action::Kill]),
        ],
    ),
    (
        State::Killing,
        &[
            (Event::Trigger, State::Killing, &[Action::RefuseBusy]),
            (Event::Exited, State::Running, &[]),
            (Event::Late, State::Running, &[]),
        ],
    ),
];

#[test]
fn every_state_answers_every_event_as_the_table_says() {
    for (state, (row, arrows)) in STATES.into_iter().zip(TABLE) {
        assert_eq!(state, row, "the table is in the order of the states");
        for event in EVENTS {
            let arrow = arrows.iter().find(|arrow| arrow.0 == event);
            let expected = arrow.map_or((state, &[][..]), |(_, next, actions)| (*next, *actions));
            assert_eq!(state.on(event), expected, "{state:?} on {event:?}");
        }
    }
}

/// Every state that a sequence of events can lead to, with what was done on the way.
fn reachable(from: State, without: Event) -> Vec<State> {
    let mut found = vec![from];
    let mut next = 0;
    while let Some(state) = found.get(next).copied() {
        for event in EVENTS.into_iter().filter(|event| *event != without) {
            let (to, _) = state.on(event);
            if !found.contains(&to) {
                found.push(to);
            }
        }
        next += 1;
    }
    found
}

#[test]
fn whatever_happens_there_is_a_way_back_to_running() {
    for state in STATES {
        assert!(
            reachable(state, Event::Trigger).contains(&State::Running),
            "{state:?}"
        );
    }
}

#[test]
fn nothing_is_killed_once_it_may_accept() {
    // A later attempt begins from Running.
    for accepts in [State::Beside, State::Draining] {
        for state in reachable(accepts, Event::Trigger) {
            assert!(
                !matches!(state, State::RollingBack | State::Killing),
                "{accepts:?} leads to {state:?}"
            );
        }
    }
}

#[test]
fn what_serves_beside_us_is_asked_to_end_and_is_given_nothing() {
    let ended = reachable(State::Beside, Event::Commit);
    assert!(ended.contains(&State::Withdrawing) && ended.contains(&State::Running));
    assert!(!ended.contains(&State::Draining));
}

#[test]
fn without_commit_nothing_is_handed_over() {
    assert!(!reachable(State::Running, Event::Commit).contains(&State::Draining));
    assert!(!reachable(State::Ready, Event::Join).contains(&State::Beside));
}

#[test]
fn a_state_that_does_not_rest_ends_by_itself_or_by_its_deadline() {
    for state in STATES.into_iter().filter(|state| !state.rests()) {
        let own = [Event::Failed, Event::Lost, Event::Late];
        assert!(
            own.into_iter().any(|event| state.on(event).0 != state),
            "{state:?}"
        );
    }
}
