//! What a drain still waits for: all of it for the log, and for the report the one that has been there longest.

use std::time::Duration;

use super::Tracker;
use crate::{
    Held,
    conn::ConnState,
    log::Seconds,
    state::{Blocker, Cell},
};

/// How many of the oldest requests are named.
const NAMED: usize = 5;

/// Everything that is waited for, in words. Empty only if nothing is.
pub(super) fn all(tracker: &Tracker) -> Vec<String> {
    let mut waits = requests(tracker);
    waits.extend(connections(tracker));
    waits.extend(tracker.arena().beacons().iter().map(Blocker::to_string));
    waits
}

/// The oldest by name, the others by number.
fn requests(tracker: &Tracker) -> Vec<String> {
    let named = |request: &crate::RequestInfo| {
        let (method, path, age) = (&request.method, &request.path, Seconds(request.age));
        format!("{method} {path} from {} (running {age})", request.peer)
    };
    let mut waits: Vec<_> = tracker.requests().iter().take(NAMED).map(named).collect();
    match (tracker.in_flight().saturating_sub(waits.len()), waits.len()) {
        (0, _) => {}
        (more, 0) => waits.push(counted(more, "request")),
        (more, _) => waits.push(counted(more, "further request")),
    }
    waits
}

/// Those without a request in flight, by what they are waited for.
fn connections(tracker: &Tracker) -> Vec<String> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    tracker.arena().walk(|cell| {
        let Some(what) = wait(cell) else { return };
        match counts.iter_mut().find(|(known, _)| *known == what) {
            Some((_, count)) => *count += 1,
            None => counts.push((what, 1)),
        }
    });
    let named = |&(what, count): &(&str, usize)| counted(count, what);
    counts.iter().map(named).collect()
}

fn wait(cell: &Cell) -> Option<&'static str> {
    Some(match cell.state() {
        _ if cell.in_flight() > 0 => return None,
        ConnState::Closed => return None,
        _ if cell.is_closing() => "connection that is being closed",
        ConnState::New => "connection without a request",
        ConnState::Handshaking => "TLS handshake",
        ConnState::Idle => "idle connection",
        ConnState::Hijacked => "upgraded connection",
        ConnState::Active if cell.is_mid_head() => "incomplete request header",
        ConnState::Active => "unsent response",
    })
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// A request before a connection before a beacon: it says the most.
pub(super) fn longest(tracker: &Tracker) -> Option<Held> {
    request(tracker)
        .or_else(|| connection(tracker))
        .or_else(|| beacon(tracker))
}

fn request(tracker: &Tracker) -> Option<Held> {
    let mut oldest: Option<Held> = None;
    tracker.arena().show_parked(|line| {
        let age = Some(line.age());
        if oldest.as_ref().is_none_or(|known| known.age < age) {
            let (method, path, peer) = (&line.method, line.path(), line.cell().peer());
            let what = format!("{method} {path} from {peer}");
            oldest = Some(Held { what, age });
        }
    });
    oldest
}

fn connection(tracker: &Tracker) -> Option<Held> {
    let now = tracker.now_ms();
    let mut oldest = None;
    tracker.arena().walk(|cell| {
        // Idle ones are waited for by the clock, not for what they do.
        if matches!(cell.state(), ConnState::Idle | ConnState::New) && !cell.is_closing() {
            return;
        }
        // Upgraded ones hold out the longest, and say so.
        let place = (
            cell.state() == ConnState::Hijacked,
            now.saturating_sub(cell.opened()),
        );
        if oldest.is_none_or(|(known, _)| known < place) {
            oldest = Some((place, cell));
        }
    });
    let ((_, age), cell) = oldest?;
    let (id, peer) = (cell.id(), cell.peer());
    let state = match cell.is_closing() {
        true => "closing",
        false => cell.state().as_str(),
    };
    Some(Held {
        what: format!("{state} connection {id} from {peer}"),
        age: Some(Duration::from_millis(age.into())),
    })
}

fn beacon(tracker: &Tracker) -> Option<Held> {
    let what = tracker.arena().beacons().first()?.to_string();
    Some(Held { what, age: None })
}
