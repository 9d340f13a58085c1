//! What is said through `tracing`, with feature `tracing`; nothing without.

use std::{
    fmt::{Debug, Display},
    io,
    process::ExitStatus,
    time::Duration,
};

use graceful_layer::Peer;

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

    pub(crate) fn not_made(peer: Peer, error: BoxError) {
        tracing::error!(target: "graceful_server", "connection from {peer} closed without a service: {error}");
    }

    pub(crate) fn not_accepted(listener: impl Debug, error: impl Display, pause_ms: u128) {
        tracing::warn!(target: "graceful_server", ?listener, %error, pause_ms, "accept failed");
    }

    pub(crate) fn moved(id: u64) {
        tracing::debug!(target: "graceful_server", connection = id, "connection moved to the successor");
    }

    pub(crate) fn swept(
        listener: &graceful_listener::HandoffListener,
        sealed: bool,
        connections: usize,
    ) {
        let listener = listener.name();
        tracing::debug!(target: "graceful_server", listener, sealed, connections, "accept queue swept");
    }

    pub(crate) fn restart(pid: u32) {
        tracing::info!(target: "graceful_server", pid, "handed over to a successor");
    }

    pub(crate) fn beside(pid: u32) {
        tracing::info!(target: "graceful_server", pid, "a successor serves beside this process");
    }

    /// Without a status it was told to stop.
    pub(crate) fn parted(status: Option<ExitStatus>) {
        match status {
            None => {
                tracing::info!(target: "graceful_server", "the successor beside this process has ended, serving on alone")
            }
            Some(status) => {
                tracing::warn!(target: "graceful_server", %status, "the successor beside this process has ended, serving on");
            }
        }
    }

    pub(crate) fn not_restarted(error: impl Display) {
        tracing::error!(target: "graceful_server", %error, "restart failed, serving on");
    }

    pub(crate) fn not_restarted_at_stop() {
        tracing::info!(target: "graceful_server", "stopping, not restarting");
    }

    /// It was its successor's last one that could have passed it on.
    pub(crate) fn nobody_to_restart(pid: u32) {
        tracing::error!(target: "graceful_server", pid, "not restarted: this process has handed over, and its successor has gone on in its turn; ask who serves");
    }

    pub(crate) fn left_to_supervisor() {
        tracing::info!(target: "graceful_server", "the supervisor was asked to restart");
    }

    pub(crate) fn not_notified(error: impl Display) {
        tracing::warn!(target: "graceful_server", %error, "the service manager was not told");
    }

    pub(crate) fn reclaimed(status: impl Display) {
        tracing::warn!(target: "graceful_server", %status, "the successor died, serving on");
    }

    pub(crate) fn worker_serves(worker: &impl Display) {
        tracing::info!(target: "graceful_server", %worker, "the worker serves");
    }

    pub(crate) fn no_first_worker() {
        tracing::error!(target: "graceful_server", "the first worker cannot start, ending");
    }

    pub(crate) fn worker_not_started(error: impl Display) {
        tracing::error!(target: "graceful_server", %error, "no new worker");
    }

    pub(crate) fn worker_ended(worker: &str, status: &io::Result<ExitStatus>, crashed: bool) {
        let status = match status {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        if crashed {
            tracing::error!(target: "graceful_server", worker, status, "the worker ended, and nobody serves");
        } else {
            tracing::info!(target: "graceful_server", worker, status, "a worker ended");
        }
    }

    pub(crate) fn worker_not_replaced(worker: &impl Display, error: impl Display) {
        tracing::error!(target: "graceful_server", %worker, %error, "the worker was not told of the next one, it serves on");
    }

    pub(crate) fn worker_serves_again(worker: &impl Display) {
        tracing::warn!(target: "graceful_server", %worker, "the worker serves again, for the next one died");
    }

    pub(crate) fn no_state(error: impl Display) {
        tracing::warn!(target: "graceful_server", %error, "the next worker starts without the state of the one before");
    }

    pub(crate) fn worker_killed(worker: &impl Display) {
        tracing::warn!(target: "graceful_server", %worker, "the worker drains for too long, killing it");
    }

    pub(crate) fn worker_follows(crashes: u32, pause: Duration) {
        let pause_ms = pause.as_millis();
        tracing::info!(target: "graceful_server", crashes, pause_ms, "the next worker follows after a pause");
    }

    pub(crate) fn gave_up(crashes: u32) {
        tracing::error!(target: "graceful_server", crashes, "too many crashes in a row, giving up");
    }

    pub(crate) fn upgraded(worker: &impl Display) {
        tracing::info!(target: "graceful_server", %worker, "the supervisor was executed anew");
    }

    pub(crate) fn not_upgraded(error: impl Display) {
        tracing::error!(target: "graceful_server", %error, "the supervisor was not executed anew");
    }
}

#[cfg(not(feature = "tracing"))]
mod imp {
    use super::*;

    pub(crate) fn ended(_: u64, _: Option<Result<(), BoxError>>) {}
    pub(crate) fn not_made(_: Peer, _: BoxError) {}
    pub(crate) fn not_accepted(_: impl Debug, _: impl Display, _: u128) {}
    pub(crate) fn moved(_: u64) {}
    pub(crate) fn swept(_: impl Debug, _: bool, _: usize) {}
    pub(crate) fn restart(_: u32) {}
    pub(crate) fn beside(_: u32) {}
    pub(crate) fn parted(_: Option<ExitStatus>) {}
    pub(crate) fn not_restarted(_: impl Display) {}
    pub(crate) fn not_restarted_at_stop() {}
    pub(crate) fn nobody_to_restart(_: u32) {}
    pub(crate) fn left_to_supervisor() {}
    pub(crate) fn not_notified(_: impl Display) {}
    pub(crate) fn reclaimed(_: impl Display) {}
    pub(crate) fn worker_serves(_: &impl Display) {}
    pub(crate) fn no_first_worker() {}
    pub(crate) fn worker_not_started(_: impl Display) {}
    pub(crate) fn worker_ended(_: &str, _: &io::Result<ExitStatus>, _: bool) {}
    pub(crate) fn worker_not_replaced(_: &impl Display, _: impl Display) {}
    pub(crate) fn worker_serves_again(_: &impl Display) {}
    pub(crate) fn no_state(_: impl Display) {}
    pub(crate) fn worker_killed(_: &impl Display) {}
    pub(crate) fn worker_follows(_: u32, _: Duration) {}
    pub(crate) fn gave_up(_: u32) {}
    pub(crate) fn upgraded(_: &impl Display) {}
    pub(crate) fn not_upgraded(_: impl Display) {}
}

pub(crate) use imp::*;
