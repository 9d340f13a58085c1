//! Signals that mean something else than stop: reload, dump, rotate.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::SignalKind;
use crate::listen::{Registrations, listen};
use crate::source::AbortOnDrop;

/// Calls `hook` at every delivery of `kind`, as long as the [`Hook`] lives.
///
/// 1. From the call on `kind` no longer has its default action.
/// 2. The hook runs in a task of the current runtime, never in the signal handler, so it may lock,
///    allocate and log. It runs once for each delivery, one after the other. Deliveries that come
///    while it runs, or while the runtime is blocked, wait (up to a few hundred).
/// 3. If it panics, the panic is reported as any other, and the next delivery calls it again.
/// 4. Dropping the [`Hook`] ends it.
///
/// The kernel merges deliveries of one kind that it has not made yet; so does tokio on Windows. A
/// hook must not block: hand long work to `tokio::spawn` or `spawn_blocking`. For a signal that
/// means *stop* use [`ShutdownSignal::notify`](crate::ShutdownSignal::notify).
///
/// # Examples
/// ```
/// # #[cfg(unix)]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// use graceful_signal::{SignalKind, on_signal};
///
/// let (dump, mut dumps) = tokio::sync::mpsc::unbounded_channel();
/// let _hook = on_signal(SignalKind::user_defined1(), move || {
///     let _ = dump.send("the connection map");
/// })?;
/// signal_hook::low_level::raise(SignalKind::user_defined1().as_raw())?;
/// assert_eq!(dumps.recv().await, Some("the connection map"));
/// # Ok(())
/// # }
/// # #[cfg(not(unix))]
/// # fn main() {}
/// ```
///
/// # Errors
/// As [`ShutdownSignal::notify`](crate::ShutdownSignal::notify).
pub fn on_signal(kind: SignalKind, mut hook: impl FnMut() + Send + 'static) -> io::Result<Hook> {
    let listening = listen([kind], None, move |_| {
        // The panic hook has reported it; the signal must stay caught.
        drop(catch_unwind(AssertUnwindSafe(&mut hook)));
    })?;
    Ok(Hook {
        _registrations: listening.registrations,
        _task: AbortOnDrop(listening.task),
    })
}

/// Keeps a hook of [`on_signal`] registered.
///
/// Dropping it gives the default action back at once if nobody else listens (as
/// [`NotifyContext::stop`](crate::NotifyContext::stop)), and the hook is not called again; a call
/// that is running on another thread ends by itself.
#[derive(Debug)]
#[must_use = "dropping it unregisters the hook: keep it as long as the hook is wanted"]
pub struct Hook {
    _registrations: Arc<Registrations>,
    _task: AbortOnDrop,
}
