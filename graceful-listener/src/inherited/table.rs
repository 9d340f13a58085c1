//! The table: what came with the process, what is wrong with it, and what is left of it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::claim::Candidate;
use super::numbers;
use crate::ListenAddr;
use crate::bind::BoundPath;
use crate::check::{Fault, check, check_udp, close_on_exec, is_only_v6};
use crate::env::Passed;
use crate::error::{Kind, ListenError};
use crate::handoff::{Delivered, Record, Socket};

/// A listener that passed all checks.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) fd: OwnedFd,
    pub(crate) addr: ListenAddr,
    /// The path to remove in the end. A manager's path is the manager's.
    pub(crate) path: Option<BoundPath>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Listener,
    Udp,
}

/// One listener or other descriptor that was passed.
#[derive(Debug)]
pub(super) struct Entry {
    name: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Offered(What, Offer),
    /// It is neither, and by its name it is to be had for whatever it is. Unless it is meant to be
    /// so, whoever asks for a listener is told why it is none.
    Plain(Option<ListenError>, PlainFd),
    Claimed,
    Closed,
}

#[derive(Debug)]
enum PlainFd {
    /// A manager says that it passed it. It may as well be somebody else's, so it is not touched
    /// before somebody asks for it by name.
    Number(RawFd),
    Owned(OwnedFd),
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

    /// Closes what is left and returns its names; nothing from the second time on.
    pub(super) fn settle(&self) -> Option<Vec<String>> {
        if self.settled.load(Ordering::Acquire) || self.settled.swap(true, Ordering::AcqRel) {
            return None;
        }
        let mut entries = self.entries();
        let left = entries.iter_mut().filter(|entry| entry.is_left());
        let close = |entry: &mut Entry| {
            entry.state = State::Closed;
            entry.name.clone()
        };
        Some(left.map(close).collect())
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

impl Entry {
    /// From a manager, by number.
    pub(super) fn passed(Passed { fd: number, name }: Passed) -> Self {
        let state = match numbers::take(number, check_either) {
            Ok((fd, (what, addr))) => {
                let path = None;
                State::Offered(what, Offer { fd, addr, path })
            }
            Err(fault) => State::Plain(Some(unusable(number, fault)), PlainFd::Number(number)),
        };
        Self { name, state }
    }

    /// From a predecessor, by the channel. Of a kind that only a later version knows nothing can
    /// be made, so it counts as not wanted.
    pub(super) fn delivered(Delivered { record, fd }: Delivered) -> Self {
        let Record { name, socket, .. } = record;
        let offer = match socket {
            Socket::Tcp(_) => check(fd.as_fd()).map(|addr| (What::Listener, addr, None)),
            // The kernel knows a Unix socket by the name it was bound with, which was a temporary
            // one if it replaced a dead socket. Otherwise the kernel is right.
            Socket::Unix { path, ours } => check(fd.as_fd()).map(|_| {
                let bound = ours.map(|identity| BoundPath::new(path.clone(), identity));
                (What::Listener, ListenAddr::Unix(path), bound)
            }),
            Socket::Udp(_) => check_udp(fd.as_fd()).map(|addr| (What::Udp, addr.into(), None)),
            Socket::Plain => {
                let state = State::Plain(None, PlainFd::Owned(fd));
                return Self { name, state };
            }
            Socket::Unknown { .. } => {
                let state = State::Closed;
                return Self { name, state };
            }
        };
        let state = match offer {
            Ok((what, addr, path)) => State::Offered(what, Offer { fd, addr, path }),
            Err(fault) => State::Plain(Some(unusable(fd.as_raw_fd(), fault)), PlainFd::Owned(fd)),
        };
        Self { name, state }
    }

    /// Hands it out, or says what is wrong with it.
    pub(super) fn claim(&mut self, what: What) -> Result<(String, Offer), ListenError> {
        if let Some(error) = self.fault(what) {
            return Err(error);
        }
        match std::mem::replace(&mut self.state, State::Claimed) {
            State::Offered(_, offer) => Ok((self.name.clone(), offer)),
            state => {
                self.state = state;
                Err(taken())
            }
        }
    }

    /// Hands it out whatever it is.
    pub(super) fn claim_plain(&mut self) -> Result<OwnedFd, ListenError> {
        if let State::Plain(_, PlainFd::Number(number)) = self.state {
            let taken = numbers::take(number, close_on_exec);
            let (fd, ()) = taken.map_err(|fault| unusable(number, fault))?;
            self.state = State::Claimed;
            return Ok(fd);
        }
        match std::mem::replace(&mut self.state, State::Claimed) {
            State::Offered(_, Offer { fd, .. }) | State::Plain(_, PlainFd::Owned(fd)) => Ok(fd),
            state => {
                self.state = state;
                Err(taken())
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
        matches!(self.state, State::Offered(..) | State::Plain(..))
    }

    /// Why it cannot be had as that, though it is left.
    pub(super) fn fault(&self, what: What) -> Option<ListenError> {
        match &self.state {
            State::Plain(Some(error), _) => Some(error.clone()),
            State::Plain(None, PlainFd::Owned(fd)) => Some(no(what, fd)),
            State::Offered(is, offer) if *is != what => Some(no(what, &offer.fd)),
            _ => None,
        }
    }

    fn is_offered(&self, what: What) -> bool {
        matches!(self.state, State::Offered(is, _) if is == what)
    }

    fn addr(&self, what: What) -> Option<(&ListenAddr, bool)> {
        match &self.state {
            State::Offered(is, offer) if *is == what => Some((&offer.addr, is_only_v6(&offer.fd))),
            _ => None,
        }
    }
}

/// The error of whoever takes one thing for another.
fn no(what: What, fd: &OwnedFd) -> ListenError {
    let fault = match what {
        What::Listener => check(fd.as_fd()).err(),
        What::Udp => check_udp(fd.as_fd()).err(),
    };
    let meant = || Fault::WrongType("it was handed over as something else".to_owned());
    unusable(fd.as_raw_fd(), fault.unwrap_or_else(meant))
}

fn check_either(fd: BorrowedFd<'_>) -> Result<(What, ListenAddr), Fault> {
    match check(fd) {
        Ok(addr) => Ok((What::Listener, addr)),
        Err(fault) => match check_udp(fd) {
            Ok(addr) => Ok((What::Udp, addr.into())),
            Err(_) => Err(fault),
        },
    }
}

fn unusable(fd: RawFd, fault: Fault) -> ListenError {
    ListenError::new(Kind::Unusable { fd, fault })
}

fn taken() -> ListenError {
    let why = "it is taken".to_owned();
    ListenError::new(Kind::NoneInherited { why })
}

/// Those that are left, and their positions. A listener that is asked for may be meant by what is
/// none, so that a mistake is found; to whoever asks for UDP listeners are no candidates.
pub(super) fn candidates(entries: &[Entry], what: What) -> (Vec<usize>, Vec<Candidate<'_>>) {
    let left = entries.iter().enumerate().filter(|(_, entry)| {
        entry.is_left() && (what == What::Listener || !entry.is_offered(What::Listener))
    });
    left.map(|(index, entry)| {
        let (name, addr) = (&*entry.name, entry.addr(what));
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
        entry.is_offered(what) || matches!(entry.state, State::Plain(Some(_), _))
    };
    match left.iter().any(fits) {
        true => left.into_iter().filter(fits).collect(),
        false => left,
    }
}

/// The positions of all that are left, or of all of one name.
pub(super) fn left(entries: &[Entry], name: Option<&str>) -> Vec<usize> {
    let meant = |index: &usize| {
        let entry = &entries[*index];
        entry.is_left() && name.is_none_or(|name| entry.name == name)
    };
    (0..entries.len()).filter(meant).collect()
}

/// `"name" at address` for each, for an error.
pub(super) fn describe(entries: &[Entry], which: &[usize]) -> Vec<String> {
    let one = |index: &usize| {
        let entry = entries.get(*index)?;
        Some(match &entry.state {
            State::Offered(What::Listener, offer) => format!("{:?} at {}", entry.name, offer.addr),
            State::Offered(What::Udp, offer) => format!("{:?} at udp:{}", entry.name, offer.addr),
            _ => format!("{:?}, which is unusable", entry.name),
        })
    };
    which.iter().filter_map(one).collect()
}
