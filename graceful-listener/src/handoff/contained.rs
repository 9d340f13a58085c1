//! Calling the code of the application, which may panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns the result of the application's code, or the message of its panic, which does not end this
/// process.
pub(super) fn contained<T>(call: &dyn Fn() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
        format!("it panicked: {}", said.unwrap_or_default())
    })
}
