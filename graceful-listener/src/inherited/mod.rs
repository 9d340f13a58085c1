//! The listeners that came with the process, from a predecessor or a service manager, until
//! somebody claims them. One table per process, filled by whoever asks first.
//!
//! What nobody claimed is closed when the process is ready: an SO_REUSEPORT sibling that is open
//! and not accepted from hangs its share of the clients. Until somebody asks, what a manager
//! passed is not touched at all; another library may be meant to have it. Guards law 12.

mod acknowledge;
mod claim;
mod entry;
pub(crate) mod numbers;
mod table;

use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use self::acknowledge::acknowledge;
use self::claim::{Choice, Wanted, choose};
use self::entry::Entry;
use self::table::{Table, candidates, describe, left, select};
use crate::addr::ListenAddr;
use crate::env::{Foreign, Me, of_this_process};
use crate::error::{Kind, ListenError};
use crate::handoff::{Heritage, heritage};
use crate::log;
use crate::notify::stored_as;

pub(crate) use self::entry::{Offer, What};

static TABLE: OnceLock<Result<Table, ListenError>> = OnceLock::new();

/// The one listener there is, or the one of that name.
pub(crate) fn one(what: What, name: Option<&str>) -> Result<(String, Offer), ListenError> {
    let table = table()?;
    let mut entries = table.entries();
    let found = select(&entries, what, name);
    match found[..] {
        [] => Err(table.nothing(&entries, name)),
        [index] => entries[index].claim(what),
        _ => Err(ListenError::new(Kind::Ambiguous {
            found: describe(&entries, &found),
        })),
    }
}

/// All listeners, or all of that name, in the order in which they were passed. If one of them is
/// unusable none is claimed.
pub(crate) fn all(what: What, name: Option<&str>) -> Result<Vec<(String, Offer)>, ListenError> {
    let table = table()?;
    let mut entries = table.entries();
    let found = select(&entries, what, name);
    if found.is_empty() {
        return Err(table.nothing(&entries, name));
    }
    if let Some(error) = found.iter().find_map(|index| entries[*index].fault(what)) {
        return Err(error);
    }
    found
        .into_iter()
        .map(|index| entries[index].claim(what))
        .collect()
}

/// The listener that was handed over for `addr`; nothing if one has to be bound.
pub(crate) fn fitting(
    what: What,
    name: Option<&str>,
    addr: &ListenAddr,
) -> Result<Option<(String, Offer)>, ListenError> {
    let table = table()?;
    let mut entries = table.entries();
    let (positions, candidates) = candidates(&entries, what);
    let text = match what {
        What::Listener => addr.to_string(),
        What::Udp => format!("udp:{addr}"),
    };
    let (named, foreign) = (name.is_some(), table.foreign);
    let wanted = Wanted {
        name: name.unwrap_or(&text),
        named,
        addr,
        foreign,
    };
    match choose(&candidates, &wanted) {
        Choice::Bind => Ok(None),
        Choice::Take(index) => {
            let position = positions[index];
            entries[position].claim(what).map(Some)
        }
        Choice::Mismatch(found) => {
            let found: Vec<_> = found.into_iter().map(|index| positions[index]).collect();
            let found = describe(&entries, &found);
            Err(ListenError::new(Kind::AddressMismatch {
                wanted: text,
                found,
            }))
        }
    }
}

/// The descriptor of that name; the first of several, and a listener only if there is no other.
pub(crate) fn plain(name: &str) -> Result<OwnedFd, ListenError> {
    let table = table()?;
    let mut entries = table.entries();
    let found = left(&entries, Some(name));
    let plain = found.iter().find(|index| entries[**index].is_plain());
    match plain.or_else(|| found.first()) {
        Some(index) => entries[*index].claim_plain(),
        None => Err(table.nothing(&entries, Some(name))),
    }
}

/// Returns the names of the inherited listeners that nobody has taken yet.
///
/// [`ready`](crate::ready) closes them; look here before, to tell whoever runs the program that
/// it was given a listener it does not know.
pub fn unclaimed() -> Vec<String> {
    let Ok(table) = table() else {
        return Vec::new();
    };
    let entries = table.entries();
    entries
        .iter()
        .filter(|entry| entry.is_left())
        .map(|entry| entry.name().to_owned())
        .collect()
}

/// The names in the manager's store of what was passed and not claimed.
pub(crate) fn unwanted() -> Vec<String> {
    let Some(Ok(table)) = TABLE.get() else {
        return Vec::new();
    };
    let entries = table.entries();
    entries
        .iter()
        .filter(|entry| !entry.is_claimed())
        .map(|entry| stored_as(entry.name()))
        .collect()
}

/// Takes all plain descriptors whose names begin so.
pub(crate) fn plain_beginning(prefix: &str) -> Vec<(String, OwnedFd)> {
    let Ok(table) = table() else {
        return Vec::new();
    };
    let mut entries = table.entries();
    let meant = entries
        .iter_mut()
        .filter(|entry| entry.is_plain() && entry.name().starts_with(prefix));
    meant
        .filter_map(|entry| Some((entry.name().to_owned(), entry.claim_plain().ok()?)))
        .collect()
}

/// Closes what nobody claimed of what a manager passed, if anybody ever asked for it, and tells
/// the manager that this process is ready. Costs one look at a flag from the second time on.
pub(crate) fn settle() {
    if let Some(Ok(table)) = TABLE.get() {
        if let Some(unclaimed) = table.settle() {
            log::unclaimed(&unclaimed);
            acknowledge();
        }
    }
}

/// Closes what nobody claimed of what a predecessor delivered, whether anybody asked for it or
/// not. Returns the positions of all that was not claimed.
pub(crate) fn settle_delivered() -> Vec<u32> {
    let Ok(table) = table() else {
        return Vec::new();
    };
    log::unclaimed(&table.settle().unwrap_or_default());
    let entries = table.entries();
    (0..)
        .zip(&*entries)
        .filter(|(_, entry)| !entry.is_claimed())
        .map(|(index, _)| index)
        .collect()
}

fn table() -> Result<&'static Table, ListenError> {
    TABLE.get_or_init(read).as_ref().map_err(Clone::clone)
}

/// A predecessor comes first: what a manager passed to the first generation came through it.
fn read() -> Result<Table, ListenError> {
    match heritage() {
        Heritage::Predecessor(predecessor) => {
            let entries = predecessor
                .take_delivered()
                .into_iter()
                .map(Entry::delivered)
                .collect();
            Ok(Table::new(
                entries,
                false,
                "the predecessor handed none over".to_owned(),
            ))
        }
        Heritage::Failed(error) => Err(ListenError::new(Kind::Handoff(error.clone()))),
        Heritage::Malformed(error) => Err(error.clone()),
        Heritage::Nobody => match of_this_process().foreign(&Me::this())? {
            Foreign::Passed(passed) => {
                let entries = passed.into_iter().map(Entry::passed).collect();
                Ok(Table::new(entries, true, String::new()))
            }
            Foreign::Nothing(why) => Ok(Table::new(Vec::new(), true, why)),
        },
    }
}
