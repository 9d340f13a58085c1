//! The source of operating-system signals, for who wants to give them back at a moment of their own.
//! How a signal is caught and given back is in the platform's file.

use std::io;
use std::sync::Arc;

use crate::cell::Cell;
use crate::listen::{Registrations, listen};
use crate::source::Source;
use crate::{Cause, ShutdownSignal, SignalKind};

/// Catches operating-system signals until [`stop`](Self::stop): Go's `signal.NotifyContext`.
///
/// 1. [`new`](Self::new) takes the default action from the signals.
/// 2. The first delivery fires [`signal`](Self::signal). Further ones raise its level, without
///    limit, until `stop`. (This is the difference to [`ShutdownSignal::notify`], which stops by
///    itself after three.)
/// 3. `stop` gives the default action back: the next Ctrl-C kills the process, even when the runtime
///    is blocked. Called right after the first delivery it makes the second one kill.
/// 4. Dropping the last handle (the context and its clones, and all clones of its signal) acts like
///    `stop`; so does dropping the runtime. Dropping the context alone does not.
///
/// Unlike in Go, `stop` does not fire the signal: it says that nobody listens any longer, not that
/// somebody asked to end.
///
/// # Examples
/// The second Ctrl-C kills:
///
/// ```no_run
/// use graceful_signal::{NotifyContext, SignalKind};
///
/// # async fn serve_until(_: graceful_signal::ShutdownSignal) {}
/// # async fn clean_up() {}
/// # #[tokio::main]
/// # async fn main() -> std::io::Result<()> {
/// let context = NotifyContext::new([SignalKind::interrupt()])?;
/// serve_until(context.signal()).await;
/// context.stop();
/// clean_up().await; // if this hangs, Ctrl-C ends it
/// # Ok(())
/// # }
/// ```
///
/// # References
/// [signal.NotifyContext](https://pkg.go.dev/os/signal#NotifyContext)
#[derive(Clone, Debug)]
#[must_use = "dropped together with its signals it gives the default action back"]
pub struct NotifyContext {
    signal: ShutdownSignal,
    registrations: Arc<Registrations>,
}

impl NotifyContext {
    /// Starts to catch `kinds`.
    ///
    /// # Errors
    /// As [`ShutdownSignal::notify`].
    pub fn new(kinds: impl IntoIterator<Item = SignalKind>) -> io::Result<Self> {
        let (source, registrations) = source_of(kinds, None)?;
        Ok(Self {
            signal: ShutdownSignal::from_source(source),
            registrations,
        })
    }

    /// A handle of the signal that the deliveries fire. All handles are of the same one.
    pub fn signal(&self) -> ShutdownSignal {
        self.signal.clone()
    }

    /// Stops catching: each of the signals has its default action again when this returns.
    ///
    /// A delivery from before still fires the signal; one from after never does. A signal that
    /// another [`NotifyContext`], [`ShutdownSignal`] or [`Hook`](crate::Hook) of this process wants
    /// stays caught for that one, and is given back when the last of them stops. Doing it twice is
    /// nothing.
    ///
    /// # What is not covered
    /// - Listeners that other crates have, such as `tokio::signal::ctrl_c`, are not known here: the
    ///   default action happens in spite of them.
    /// - A signal that was ignored when the process started (`nohup`) is not ignored again.
    /// - On Windows the event is given back as soon as the runtime runs again, not at once.
    pub fn stop(&self) {
        self.registrations.release();
    }
}

/// A source with a delivery for each signal of `kinds`. They are given back at the `last` one, when
/// the registrations are released, and with the last handle.
pub(crate) fn source_of(
    kinds: impl IntoIterator<Item = SignalKind>,
    last: Option<u32>,
) -> io::Result<(Source, Arc<Registrations>)> {
    let cell = Arc::new(Cell::default());
    let delivered = cell.clone();
    let listening = listen(kinds, last, move |kind| {
        delivered.deliver(Cause::Signal(kind));
    })?;
    let registrations = listening.registrations;
    Ok((Source::new(cell, registrations.clone()), registrations))
}
