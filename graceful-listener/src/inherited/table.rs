//! The table: what came with the process, and what is left of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::claim::Candidate;
use super::entry::{Entry, What};
use crate::error::{Kind, ListenError};
use crate::notify::is_called;
use crate::protocol::record::CONTROL;

#[derive(Debug)]
pub(super) struct Table {
    entries: Mutex<Vec<Entry>>,
    /// Whether a service manager passed them, and not a predecessor.
    pub(super) foreign: bool,
    /// Why there are none, in words.
    nothing: String,
    settled: AtomicBool,
}

impl Table {
    pub(super) fn new(entries: Vec<Entry>, foreign: bool, nothing: String) -> Self {
        Self {
            entries: Mutex::new(entries),
            foreign,
            nothing,
            settled: AtomicBool::new(false),
        }
    }

    pub(super) fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what is left and returns its names; nothing from the second time on.
    pub(super) fn settle(&self) -> Option<Vec<String>> {
        if self.settled.load(Ordering::Acquire) || self.settled.swap(true, Ordering::AcqRel) {
            return None;
        }
        let mut entries = self.entries();
        let left = entries.iter_mut().filter(|entry| entry.is_left());
        Some(left.map(Entry::close).collect())
    }

    /// The error of whoever asked for `name` and cannot have it.
    pub(super) fn nothing(&self, entries: &[Entry], name: Option<&str>) -> ListenError {
        let left = describe(entries, &left(entries, None));
        let why = match name {
            _ if entries.is_empty() => self.nothing.clone(),
            Some(name) if !left.is_empty() => {
                format!("none is named {name:?}, there is {}", left.join(" and "))
            }
            _ => "all that were handed over are taken or closed".to_owned(),
        };
        ListenError::new(Kind::NoneInherited { why })
    }
}

/// Those that are left, and their positions. A listener that is asked for may be meant by what is
/// none, so that a mistake is found; to whoever asks for UDP listeners are no candidates.
pub(super) fn candidates(entries: &[Entry], what: What) -> (Vec<usize>, Vec<Candidate<'_>>) {
    let left = entries.iter().enumerate().filter(|(_, entry)| {
        let mistake = what == What::Listener && entry.is_offered(What::Udp);
        entry.is_offered(what) || entry.is_broken() || mistake
    });
    left.map(|(index, entry)| {
        let (name, addr) = (entry.name(), entry.addr(what));
        (index, Candidate { name, addr })
    })
    .unzip()
}

/// The positions of those that are left, all or all of one name. What is known to be of the other
/// kind is among them only if there is nothing else.
pub(super) fn select(entries: &[Entry], what: What, name: Option<&str>) -> Vec<usize> {
    let left = left(entries, name);
    let fits = |index: &usize| {
        let entry = &entries[*index];
        entry.is_offered(what) || entry.is_broken()
    };
    match left.iter().any(fits) {
        true => left.into_iter().filter(fits).collect(),
        false => left,
    }
}

/// The positions of all that are left, or of all of one name. Without a name the control socket is
/// not meant: no server would expect it among its listeners.
pub(super) fn left(entries: &[Entry], name: Option<&str>) -> Vec<usize> {
    let meant = |index: &usize| {
        let entry = &entries[*index];
        let named = match name {
            Some(name) => is_called(entry.name(), name),
            None => entry.name() != CONTROL,
        };
        named && entry.is_left()
    };
    (0..entries.len()).filter(meant).collect()
}

/// Each of them for an error.
pub(super) fn describe(entries: &[Entry], which: &[usize]) -> Vec<String> {
    which
        .iter()
        .map(|index| entries[*index].describe())
        .collect()
}
