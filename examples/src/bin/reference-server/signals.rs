//! What each signal means here, but for HUP and USR2, which are the server's `restart_on` and `beside_on`.

use std::io::{self, Write};

use graceful_server::signal::{Hook, on_signal};
use graceful_server::{NotifyContext, Phase, ShutdownSignal, SignalKind, Tracker};

use crate::status::Status;

/// TERM and INT stop the server. At the cutoff they are given back: there is nothing faster left to ask for, so the next
/// one kills. [`ShutdownSignal::terminate`] gives them back at the third, also when the first two were taken back.
pub(crate) fn stop(tracker: &Tracker) -> io::Result<ShutdownSignal> {
    let context = NotifyContext::new([SignalKind::terminate(), SignalKind::interrupt()])?;
    let (signal, tracker) = (context.signal(), tracker.clone());
    tokio::spawn(async move {
        tracker.reached(Phase::Cutoff).await;
        // After a clean drain there is nothing to hurry, and a late signal must not change the exit status.
        if tracker.phase() == Phase::Cutoff {
            context.stop();
        } else {
            std::future::pending::<()>().await;
        }
    });
    Ok(signal)
}

/// The others are caught as long as the hooks live.
pub(crate) fn listen(status: &Status) -> io::Result<[Hook; 4]> {
    let (tracker, status) = (status.tracker().clone(), status.clone());
    Ok([
        // The server hears these two as well; before it serves there is nothing to restart, and they must not kill.
        on_signal(SignalKind::hangup(), || {})?,
        on_signal(SignalKind::quit(), move || {
            tracker.cutoff();
        })?,
        on_signal(SignalKind::user_defined1(), move || {
            let _ = io::stderr().write_all(status.map().as_bytes());
        })?,
        on_signal(SignalKind::user_defined2(), || {})?,
    ])
}
