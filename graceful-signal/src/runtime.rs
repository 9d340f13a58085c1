//! Asks for a tokio runtime without panicking when there is none. Keeps law 13.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::Handle;

use crate::error::failed;

/// Runs `start` inside the current runtime; a missing runtime or driver is an error.
///
/// tokio has no way to ask whether the I/O or time driver is on, only a panic for when it is off:
/// so that one panic is caught here. (Its message still reaches the panic hook.)
pub(crate) fn with_driver<T>(driver: &str, start: impl FnOnce() -> T) -> io::Result<T> {
    Handle::try_current().map_err(|none| {
        let advice = "no tokio runtime here: call this inside one, as in #[tokio::main]";
        failed(advice.into(), io::Error::other(none))
    })?;
    catch_unwind(AssertUnwindSafe(start)).map_err(|_| {
        let advice = "is off in this tokio runtime: build it with enable_all()";
        io::Error::new(
            io::ErrorKind::Unsupported,
            format!("the {driver} driver {advice}"),
        )
    })
}
