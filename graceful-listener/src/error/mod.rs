//! Why there is no listener: one opaque error with a predicate for each cause.

mod handoff;

use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use self::handoff::with_causes;
use crate::fault::Fault;

pub use self::handoff::HandoffError;

/// Why a listener could not be had.
///
/// Its text names the value at fault and what to do about it; the cause, when the system gave
/// one, is in [`source`](Error::source). It becomes an [`io::Error`] with `?`.
///
/// # Design
///
/// The causes are predicates and not variants, so that a new cause breaks nobody. It is cheap to
/// clone because what is wrong with an inherited descriptor is found once and told to each call
/// that asks for it.
#[derive(Clone)]
pub struct ListenError(Arc<Kind>);

#[derive(Debug)]
pub(crate) enum Kind {
    AddrInUse {
        addr: String,
        why: &'static str,
    },
    AddressMismatch {
        wanted: String,
        found: Vec<String>,
    },
    Ambiguous {
        found: Vec<String>,
    },
    BadName {
        name: String,
    },
    Bind {
        addr: String,
        step: &'static str,
        cause: io::Error,
    },
    Handoff(HandoffError),
    MalformedAddr {
        text: String,
        why: &'static str,
    },
    MalformedEnv {
        name: String,
        value: String,
        why: String,
    },
    NoneInherited {
        why: String,
    },
    Unusable {
        fd: RawFd,
        fault: Fault,
    },
}

impl ListenError {
    pub(crate) fn new(kind: Kind) -> Self {
        Self(Arc::new(kind))
    }

    /// Text that is no address of the kind that was asked for.
    pub fn is_malformed_addr(&self) -> bool {
        matches!(*self.0, Kind::MalformedAddr { .. })
    }

    /// An environment variable of a hand-over does not say what it must. No descriptor was
    /// touched.
    pub fn is_malformed_env(&self) -> bool {
        matches!(*self.0, Kind::MalformedEnv { .. })
    }

    /// A name that is empty or longer than 255 bytes.
    pub fn is_bad_name(&self) -> bool {
        matches!(*self.0, Kind::BadName { .. })
    }

    /// The descriptor is closed, or was not inherited at all.
    pub fn is_bad_fd(&self) -> bool {
        self.has_fault(|fault| matches!(fault, Fault::Closed | Fault::CloseOnExec | Fault::Os(_)))
    }

    /// The number was taken before; each can be taken once in a process.
    pub fn is_taken(&self) -> bool {
        self.has_fault(|fault| matches!(fault, Fault::Taken))
    }

    /// The descriptor is a file, a pipe, or anything else that is no socket.
    pub fn is_not_a_socket(&self) -> bool {
        self.has_fault(|fault| matches!(fault, Fault::NotASocket(_)))
    }

    /// A socket of another kind than was asked for: for a listener, neither of TCP nor a Unix
    /// stream socket.
    pub fn is_wrong_type(&self) -> bool {
        self.has_fault(|fault| matches!(fault, Fault::WrongType(_)))
    }

    /// A stream socket that does not listen: a connection, or bound only.
    pub fn is_not_listening(&self) -> bool {
        self.has_fault(|fault| matches!(fault, Fault::NotListening(_)))
    }

    /// A listener was handed over, but at another address than was asked for.
    pub fn is_address_mismatch(&self) -> bool {
        matches!(*self.0, Kind::AddressMismatch { .. })
    }

    /// Somebody else holds the address.
    pub fn is_addr_in_use(&self) -> bool {
        matches!(*self.0, Kind::AddrInUse { .. })
    }

    /// The system refused to bind or to listen, for another reason than the address in use.
    pub fn is_bind_failed(&self) -> bool {
        matches!(*self.0, Kind::Bind { .. })
    }

    /// Several inherited listeners fit.
    pub fn is_ambiguous(&self) -> bool {
        matches!(*self.0, Kind::Ambiguous { .. })
    }

    /// No listener was handed over, or none that is left fits.
    pub fn is_none_inherited(&self) -> bool {
        matches!(*self.0, Kind::NoneInherited { .. })
    }

    /// A predecessor is there, but it did not hand over what it promised.
    pub fn is_handoff_failed(&self) -> bool {
        matches!(*self.0, Kind::Handoff(_))
    }

    fn has_fault(&self, is: impl FnOnce(&Fault) -> bool) -> bool {
        matches!(&*self.0, Kind::Unusable { fault, .. } if is(fault))
    }
}

/// What `main` prints when it returns this: the text for people, with its causes.
impl fmt::Debug for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_causes(self, f)
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::AddrInUse { addr, why } => write!(f, "address {addr} is in use: {why}"),
            Kind::AddressMismatch { wanted, found } => write!(
                f,
                "{wanted} was asked for, but handed over was {}; ask for that address, or give \
                 listeners that nobody hands over a name of their own",
                found.join(" and ")
            ),
            Kind::Ambiguous { found } => write!(
                f,
                "{} inherited listeners fit ({}); choose one with `options().name(..)` or take \
                 them with `all_from_env`",
                found.len(),
                found.join(", ")
            ),
            Kind::BadName { name } => {
                write!(
                    f,
                    "listener name {name:?} is empty or longer than 255 bytes"
                )
            }
            Kind::Bind { addr, step, .. } => write!(f, "cannot {step} {addr}"),
            Kind::Handoff(_) => f.write_str("the predecessor did not hand its listeners over"),
            Kind::MalformedAddr { text, why } => {
                write!(f, "malformed address {text:?}: {why}")
            }
            Kind::MalformedEnv { name, value, why } => {
                write!(f, "malformed environment variable {name}={value:?}: {why}")
            }
            Kind::NoneInherited { why } => write!(
                f,
                "no listener was inherited: {why}; use `from_env_or_bind` to bind one instead"
            ),
            Kind::Unusable { fd, fault } => {
                write!(f, "descriptor {fd} is not what was asked for: {fault}")
            }
        }
    }
}

impl Error for ListenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.0 {
            Kind::Bind { cause, .. } => Some(cause),
            Kind::Handoff(cause) => Some(cause),
            Kind::Unusable {
                fault: Fault::Os(cause),
                ..
            } => Some(cause),
            _ => None,
        }
    }
}

impl From<ListenError> for io::Error {
    fn from(error: ListenError) -> Self {
        let kind = match &*error.0 {
            Kind::AddrInUse { .. } => io::ErrorKind::AddrInUse,
            Kind::Bind { cause, .. } => cause.kind(),
            Kind::NoneInherited { .. } => io::ErrorKind::NotFound,
            Kind::Handoff(_) => io::ErrorKind::Other,
            _ => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}
