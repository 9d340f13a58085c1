//! One thing that came with the process: what it is, what is wrong with it, whether it is taken.
//! Guards law 12.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::numbers;
use crate::addr::ListenAddr;
use crate::bind::BoundPath;
use crate::carried::Provenance;
use crate::check::{check, check_udp, close_on_exec, is_only_v6};
use crate::env::Passed;
use crate::error::{Kind, ListenError};
use crate::fault::Fault;
use crate::handoff::Delivered;
use crate::notify::is_stored;
use crate::protocol::record::{Record, Socket};

/// A listener or UDP socket that passed all checks.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) fd: OwnedFd,
    pub(crate) addr: ListenAddr,
    /// The path to remove in the end. A manager's path is the manager's.
    pub(crate) path: Option<BoundPath>,
    /// What the manager stored for us was this service's own.
    pub(crate) provenance: Provenance,
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

impl Entry {
    /// From a manager, by number.
    pub(super) fn passed(Passed { fd: number, name }: Passed) -> Self {
        let state = match numbers::take(number, check_either) {
            Ok((fd, (what, addr))) => {
                let provenance = match is_stored(&name) {
                    true => Provenance::Own,
                    false => Provenance::Passed,
                };
                State::Offered(
                    what,
                    Offer {
                        fd,
                        addr,
                        path: None,
                        provenance,
                    },
                )
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
            Ok((what, addr, path)) => {
                let provenance = Provenance::Delivered(name.clone());
                State::Offered(
                    what,
                    Offer {
                        fd,
                        addr,
                        path,
                        provenance,
                    },
                )
            }
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
            State::Plain(None, PlainFd::Owned(fd)) => Some(mistaken(what, fd)),
            State::Offered(is, offer) if *is != what => Some(mistaken(what, &offer.fd)),
            _ => None,
        }
    }

    pub(super) fn is_offered(&self, what: What) -> bool {
        matches!(self.state, State::Offered(is, _) if is == what)
    }

    /// It is none of what there is, and not meant to be none: its error is for whoever asks.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.state, State::Plain(Some(_), _))
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self.state, State::Plain(..))
    }

    pub(super) fn addr(&self, what: What) -> Option<(&ListenAddr, bool)> {
        match &self.state {
            State::Offered(is, offer) if *is == what => Some((&offer.addr, is_only_v6(&offer.fd))),
            _ => None,
        }
    }

    /// Lets go of it, and closes it if it is ours. Returns its name.
    pub(super) fn close(&mut self) -> String {
        self.state = State::Closed;
        self.name.clone()
    }

    /// `"name" at address`, for an error.
    pub(super) fn describe(&self) -> String {
        match &self.state {
            State::Offered(What::Listener, offer) => format!("{:?} at {}", self.name, offer.addr),
            State::Offered(What::Udp, offer) => format!("{:?} at udp:{}", self.name, offer.addr),
            _ => format!("{:?}, which is neither a listener nor UDP", self.name),
        }
    }
}

/// The error of whoever takes one thing for another.
fn mistaken(what: What, fd: &OwnedFd) -> ListenError {
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
