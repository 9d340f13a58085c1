//! What a drain still waits for: of all that is left, the one that has been there longest.

use std::time::Duration;

use super::Tracker;
use crate::{Held, conn::ConnState};

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
        if matches!(cell.state(), ConnState::Idle | ConnState::New) {
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
    let (state, id, peer) = (cell.state(), cell.id(), cell.peer());
    Some(Held {
        what: format!("{state} connection {id} from {peer}"),
        age: Some(Duration::from_millis(age.into())),
    })
}

fn beacon(tracker: &Tracker) -> Option<Held> {
    let what = tracker.arena().beacons().into_iter().next()?;
    Some(Held { what, age: None })
}
