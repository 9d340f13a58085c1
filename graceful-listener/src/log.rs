//! What the crate tells `tracing`, one function per event; without the feature it tells nobody.

use std::fmt::{Debug, Display};
use std::os::fd::RawFd;

macro_rules! event {
    ($level:ident, $($fields:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::$level!(target: "graceful_listener", $($fields)*);
    };
}

/// Inherited listeners that nobody claimed are being closed.
pub(crate) fn unclaimed(names: &[String]) {
    for _name in names {
        event!(
            warn,
            name = _name,
            "closing an inherited listener that nobody claimed"
        );
    }
}

/// The variable of a hand-over is there, but not the channel it names.
pub(crate) fn stale_channel(_fd: RawFd) {
    event!(
        debug,
        fd = _fd,
        "GRACEFUL_HANDOFF was meant for an ancestor of this process"
    );
}

/// The manager that waits for it was told that this process is ready, or could not be.
pub(crate) fn acknowledged(_outcome: Result<(), impl Display>) {
    #[cfg(feature = "tracing")]
    match _outcome {
        Ok(()) => {
            event!(debug, "told einhorn that this process is ready");
        }
        Err(error) => {
            event!(warn, %error, "einhorn cannot be told that this process is ready");
        }
    }
}

/// The predecessor let go.
pub(crate) fn committed(_generation: u32) {
    event!(
        info,
        generation = _generation,
        "the predecessor handed over"
    );
}

/// The supervisor lets this worker serve.
pub(crate) fn supervised(_generation: u32) {
    event!(info, generation = _generation, "serving for the supervisor");
}

/// The predecessor serves on, and lets this process serve beside it.
pub(crate) fn beside(_generation: u32) {
    event!(
        info,
        generation = _generation,
        "serving beside the predecessor"
    );
}

/// The predecessor died before it let go.
pub(crate) fn promoted(_generation: u32) {
    event!(
        warn,
        generation = _generation,
        "the predecessor is gone, taking over"
    );
}

/// Somebody came to the control socket who is not let in.
pub(crate) fn sent_away(_why: impl Display) {
    event!(warn, why = %_why, "sent away from the control socket");
}

/// The service manager was not told.
pub(crate) fn not_notified(_error: impl Display) {
    event!(warn, error = %_error, "the service manager was not told");
}

/// From here on it is not to be committed any more.
pub(crate) fn canary_leaves(_pid: u32) {
    event!(
        info,
        pid = _pid,
        "the successor beside this process is being stopped"
    );
}

/// The state machine of the hand-over moved.
pub(crate) fn transition(_event: impl Debug, _state: impl Debug, _successor: u32) {
    event!(debug, event = ?_event, state = ?_state, successor = _successor, "hand-over");
}

/// A supervisor could not become another program and goes on as what it was.
pub(crate) fn not_executed(_program: &std::path::Path, _error: &std::io::Error) {
    event!(
        error,
        program = %_program.display(),
        error = %_error,
        "the supervisor was not replaced"
    );
}
