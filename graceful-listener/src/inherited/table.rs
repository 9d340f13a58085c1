//! The table: what came with the process, what is wrong with it, and what is left of it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::claim::{Candidate, named};
use super::numbers;
use crate::ListenAddr;
use crate::bind::BoundPath;
use crate::check::{check, is_only_v6};
use crate::env::Passed;
use crate::error::{Kind, ListenError};
use crate::handoff::Delivered;

/// A listener that passed all checks.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) fd: OwnedFd,
    pub(crate) addr: ListenAddr,
    /// The path to remove in the end. A manager's path is the manager's.
    pub(crate) path: Option<BoundPath>,
}

/// One listener that was passed.
#[derive(Debug)]
pub(super) struct Entry {
    name: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Offered(Offer),
    /// It failed a check; told to everybody who asks for it.
    Broken(ListenError),
    Claimed,
    Closed,
}

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

    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// Closes what is left and returns its names; nothing from the second time on.
    pub(super) fn settle(&self) -> Vec<String> {
        let mut entries = self.entries();
        self.settled.store(true, Ordering::Release);
        let left = entries.iter_mut().filter(|entry| entry.is_left());
        left.map(|entry| {
            entry.state = State::Closed;
            entry.name.clone()
        })
        .collect()
    }

    /// The error of whoever asked for `name` and cannot have it.
    pub(super) fn nothing(&self, entries: &[Entry], name: Option<&str>) -> ListenError {
        let left = describe(entries, &select(entries, None));
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

impl Entry {
    /// From a manager, by number.
    pub(super) fn passed(Passed { fd: number, name }: Passed) -> Self {
        let state = match numbers::take(number, check) {
            Ok((fd, addr)) => State::Offered(Offer {
                fd,
                addr,
                path: None,
            }),
            Err(fault) => State::Broken(ListenError::new(Kind::Unusable { fd: number, fault })),
        };
        Self { name, state }
    }

    /// From a predecessor, by the channel. Of a kind that only a later version knows nothing can
    /// be made, so it counts as not wanted.
    pub(super) fn delivered(Delivered { record, fd }: Delivered) -> Self {
        let name = record.name.clone();
        let state = match (record.into_parts(), check(fd.as_fd())) {
            (None, _) => State::Closed,
            // The kernel knows a Unix socket by the name it was bound with, which was a temporary
            // one if it replaced a dead socket. For TCP the kernel is right.
            (Some((addr, path)), Ok(real)) => {
                let addr = real.as_tcp().map_or(addr, ListenAddr::Tcp);
                State::Offered(Offer { fd, addr, path })
            }
            (Some(_), Err(fault)) => State::Broken(ListenError::new(Kind::Unusable {
                fd: fd.as_raw_fd(),
                fault,
            })),
        };
        Self { name, state }
    }

    /// Hands it out, or says what is wrong with it.
    pub(super) fn claim(&mut self) -> Result<(String, Offer), ListenError> {
        match std::mem::replace(&mut self.state, State::Claimed) {
            State::Offered(offer) => Ok((self.name.clone(), offer)),
            State::Broken(error) => {
                self.state = State::Broken(error.clone());
                Err(error)
            }
            state @ (State::Claimed | State::Closed) => {
                self.state = state;
                Err(ListenError::new(Kind::NoneInherited {
                    why: "it is taken".to_owned(),
                }))
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_claimed(&self) -> bool {
        matches!(self.state, State::Claimed)
    }

    pub(super) fn is_left(&self) -> bool {
        matches!(self.state, State::Offered(_) | State::Broken(_))
    }

    pub(super) fn fault(&self) -> Option<ListenError> {
        match &self.state {
            State::Broken(error) => Some(error.clone()),
            _ => None,
        }
    }

    fn addr(&self) -> Option<(&ListenAddr, bool)> {
        match &self.state {
            State::Offered(offer) => Some((&offer.addr, is_only_v6(&offer.fd))),
            _ => None,
        }
    }
}

/// Those that are left, and their positions.
pub(super) fn candidates(entries: &[Entry]) -> (Vec<usize>, Vec<Candidate<'_>>) {
    let left = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.is_left());
    left.map(|(index, entry)| {
        (
            index,
            Candidate {
                name: &entry.name,
                addr: entry.addr(),
            },
        )
    })
    .unzip()
}

/// The positions of those that are left, all or all of one name.
pub(super) fn select(entries: &[Entry], name: Option<&str>) -> Vec<usize> {
    let (positions, candidates) = candidates(entries);
    named(&candidates, name)
        .into_iter()
        .map(|index| positions[index])
        .collect()
}

/// `"name" at address` for each, for an error.
pub(super) fn describe(entries: &[Entry], which: &[usize]) -> Vec<String> {
    let one = |index: &usize| {
        let entry = entries.get(*index)?;
        Some(match entry.addr() {
            Some((addr, _)) => format!("{:?} at {addr}", entry.name),
            None => format!("{:?}, which is unusable", entry.name),
        })
    };
    which.iter().filter_map(one).collect()
}
