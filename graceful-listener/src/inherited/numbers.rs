//! A descriptor number that came through exec becomes an `OwnedFd` once per process. Guards
//! law 12: two owners of one number close it twice, and the second time it is somebody else's.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use rustix::io::FdFlags;

use crate::fault::Fault;
use crate::sys::Inherited;

/// The numbers that have been taken. They stay here after they are closed: from then on a number
/// belongs to whoever opened it in this process.
static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Takes a number if `check` finds in it what was promised, and leaves it alone if not.
///
/// Only what has no FD_CLOEXEC can have come through exec. Everything the standard library,
/// tokio or another reader of the same variables opened or took has the flag.
pub(crate) fn take<T>(
    number: RawFd,
    check: impl FnOnce(BorrowedFd<'_>) -> Result<T, Fault>,
) -> Result<(OwnedFd, T), Fault> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if taken.contains(&number) {
        return Err(Fault::Taken);
    }
    let (fd, flags) = Inherited::look(number)?;
    if flags.contains(FdFlags::CLOEXEC) {
        return Err(Fault::CloseOnExec);
    }
    let found = check(fd.as_fd())?;
    taken.insert(number);
    Ok((fd.into_owned(), found))
}
