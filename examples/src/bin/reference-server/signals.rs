//! What each signal means here, but for HUP and USR2, which are the server's `restart_on` and `beside_on`.

use std::io::{self, Write};

use graceful_server::signal::{Hook, on_signal};
use graceful_server::{NotifyContext, Phase, ShutdownSignal, SignalKind, Tracker};

use crate::status::Status;

/// TERM and INT shut the server down. Their default action is back after the cutoff has begun and the third of them was delivered: the
/// fourth kills the process. [`ShutdownSignal::terminate`] does not wait for the cutoff, so that signals of a shutdown that was taken
/// back would count.
pub(crate) fn stop(tracker: &Tracker) -> io::Result<ShutdownSignal> {
    let context = NotifyContext::new([SignalKind::terminate(), SignalKind::interrupt()])?;
    let (signal, tracker) = (context.signal(), tracker.clone());
    let delivered = signal.clone();
    tokio::spawn(async move {
        tracker.reached(Phase::Cutoff).await;
        // After a clean drain a late signal must not change the exit status.
        if tracker.phase() == Phase::Cutoff {
            delivered.reached(3).await;
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
