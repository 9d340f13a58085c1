//! Registering a descriptor with the runtime.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers `fd` until the result is dropped. Panics outside of a runtime with I/O enabled.
///
/// tokio 1.54 deprecates the safe constructor because a type may lie about its descriptor. The
/// types in use here, `Arc<OwnedFd>` and `BorrowedFd`, keep it open and the same.
#[allow(
    deprecated,
    reason = "its successor is unsafe, and not there in earlier releases"
)]
pub(crate) fn register<T: AsRawFd>(fd: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(fd, interest)
}
