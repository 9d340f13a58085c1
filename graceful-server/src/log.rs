//! What is said through `tracing`, with feature `tracing`; nothing without.

use std::fmt::{Debug, Display};

use crate::connection::BoxError;

#[cfg(feature = "tracing")]
mod imp {
    use super::*;

    /// Connections end with errors all the time: clients vanish. `None`: the drain cut it.
    pub(crate) fn ended(id: u64, outcome: Option<Result<(), BoxError>>) {
        match outcome {
            Some(Ok(())) => {
                tracing::trace!(target: "graceful_server", connection = id, "connection ended")
            }
            Some(Err(error)) => {
                tracing::debug!(target: "graceful_server", connection = id, %error, "connection ended")
            }
            None => tracing::debug!(target: "graceful_server", connection = id, "connection cut"),
        }
    }

    pub(crate) fn not_made(error: BoxError) {
        tracing::error!(target: "graceful_server", %error, "no service for a connection");
    }

    pub(crate) fn not_accepted(listener: impl Debug, error: impl Display, pause_ms: u128) {
        tracing::warn!(target: "graceful_server", ?listener, %error, pause_ms, "accept failed");
    }

    pub(crate) fn moved(id: u64) {
        tracing::debug!(target: "graceful_server", connection = id, "connection moved to the successor");
    }

    pub(crate) fn swept(connections: usize) {
        tracing::debug!(target: "graceful_server", connections, "accept queue swept");
    }

    pub(crate) fn restart(pid: u32) {
        tracing::info!(target: "graceful_server", pid, "handed over to a successor");
    }

    pub(crate) fn beside(pid: u32) {
        tracing::info!(target: "graceful_server", pid, "a successor serves beside this process");
    }

    pub(crate) fn parted(status: impl Debug) {
        tracing::warn!(target: "graceful_server", ?status, "the successor beside this process has ended, serving on");
    }

    pub(crate) fn not_restarted(error: impl Display) {
        tracing::error!(target: "graceful_server", %error, "restart failed, serving on");
    }

    pub(crate) fn not_notified(error: impl Display) {
        tracing::warn!(target: "graceful_server", %error, "the service manager was not told");
    }

    pub(crate) fn reclaimed(status: impl Display) {
        tracing::warn!(target: "graceful_server", %status, "the successor died, serving on");
    }
}

#[cfg(not(feature = "tracing"))]
mod imp {
    use super::*;

    pub(crate) fn ended(_: u64, _: Option<Result<(), BoxError>>) {}
    pub(crate) fn not_made(_: BoxError) {}
    pub(crate) fn not_accepted(_: impl Debug, _: impl Display, _: u128) {}
    pub(crate) fn moved(_: u64) {}
    pub(crate) fn swept(_: usize) {}
    pub(crate) fn restart(_: u32) {}
    pub(crate) fn beside(_: u32) {}
    pub(crate) fn parted(_: impl Debug) {}
    pub(crate) fn not_restarted(_: impl Display) {}
    pub(crate) fn not_notified(_: impl Display) {}
    pub(crate) fn reclaimed(_: impl Display) {}
}

pub(crate) use imp::*;
