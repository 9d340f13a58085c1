//! Any descriptor under a name: a memfd with state, a socket of a kind this crate does not know,
//! a lock. Guards law 12.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::carried::{Carried, Carry};
use crate::check::close_on_exec;
use crate::error::ListenError;
use crate::handoff::Origin;
use crate::inherited;
use crate::listener::Gate;
use crate::options::check_name;
use crate::protocol::record::Socket;

/// A descriptor that outlives its process under a name.
///
/// It is inherited, from a predecessor or from a service manager that passed it by name, or made
/// here; and it is handed on with [`SuccessorBuilder::carry`](crate::SuccessorBuilder::carry).
/// It is close-on-exec; nothing else of it is looked at or changed. Clones are handles of the
/// same descriptor, which is closed when the last one is dropped. What nobody claimed is closed
/// when the process is [`ready`](crate::ready).
///
/// Both processes have it open from the successor's start until the old one ends, and both may
/// use it: who does what until COMMIT, and after it, is the caller's to settle. For listeners and
/// UDP use [`HandoffListener`](crate::HandoffListener) and [`HandoffUdp`](crate::HandoffUdp),
/// which wait for their turn.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Seek, Write};
///
/// use graceful_listener::{HandoffFd, Successor};
///
/// // The first generation makes the file, and all others inherit it.
/// let counters = HandoffFd::from_env_or_else("counters", || {
///     std::fs::File::create("/dev/null").map(Into::into)
/// })?;
/// let mut file = std::fs::File::from(std::os::fd::AsFd::as_fd(&counters).try_clone_to_owned()?);
/// file.write_all(b"4711")?;
/// let successor = Successor::builder().carry(&counters); // `.start(..)` hands it over
/// # drop(successor);
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HandoffFd(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    name: String,
    fd: Arc<OwnedFd>,
    gate: Gate,
}

impl HandoffFd {
    /// Names a descriptor, so that it can be handed on.
    ///
    /// # Errors
    ///
    /// [`is_bad_name`](ListenError::is_bad_name) if the name has not 1 to 255 bytes.
    pub fn new(name: impl Into<String>, fd: OwnedFd) -> Result<Self, ListenError> {
        let name = name.into();
        check_name(&name)?;
        Origin::recorded();
        // It cannot fail: the descriptor is open.
        let _ = close_on_exec(fd.as_fd());
        Ok(Self(Arc::new(Shared {
            name,
            fd: Arc::new(fd),
            gate: Gate::default(),
        })))
    }

    /// Takes the descriptor that was inherited under `name`, whatever it is; of several of the
    /// name, each call takes the next.
    ///
    /// # Errors
    ///
    /// [`is_none_inherited`](ListenError::is_none_inherited) if there is none,
    /// [`is_bad_fd`](ListenError::is_bad_fd) if a manager named one that is not open, and what is
    /// wrong with the environment or the name.
    pub fn from_env(name: impl Into<String>) -> Result<Self, ListenError> {
        let name = name.into();
        check_name(&name)?;
        let fd = inherited::plain(&name)?;
        Self::new(name, fd)
    }

    /// Takes the descriptor that was inherited under `name`, or the one that `make` makes if none
    /// was.
    ///
    /// # Errors
    ///
    /// Those of [`from_env`](Self::from_env), but for none being there, and those of `make`.
    pub fn from_env_or_else<E: From<ListenError>>(
        name: impl Into<String>,
        make: impl FnOnce() -> Result<OwnedFd, E>,
    ) -> Result<Self, E> {
        let name = name.into();
        match Self::from_env(&*name) {
            Err(error) if error.is_none_inherited() => Ok(Self::new(name, make()?)?),
            inherited => Ok(inherited?),
        }
    }

    /// Returns the name under which the next process finds it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns whether a successor has it, and is not [gone](crate::Handover::gone).
    pub fn is_handed_over(&self) -> bool {
        !self.0.gate.is_open()
    }
}

impl From<&HandoffFd> for Carried {
    fn from(fd: &HandoffFd) -> Self {
        Self(Arc::clone(&fd.0) as _)
    }
}

impl AsFd for HandoffFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl Carry for Shared {
    fn name(&self) -> &str {
        &self.name
    }

    fn socket(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.fd)
    }

    fn description(&self) -> Socket {
        Socket::Plain
    }

    fn hand_over(&self) {
        self.gate.close();
    }

    fn reclaim(&self) {
        self.gate.open();
    }
}
