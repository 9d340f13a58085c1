//! Our own server, everything on.

use std::{io, os::fd::AsFd};

use graceful_server::{HandoffListener, Protocol as Spoken, Serve, ShutdownSignal, SignalKind};

use crate::server::{BoxError, Protocol, Setting, say_ready};

/// Serves until it is told to stop.
///
/// # Errors
/// Those of the server.
pub async fn run(server: Serve, setting: Setting) -> Result<(), BoxError> {
    let protocol = match setting.protocol {
        Protocol::Auto => Spoken::Auto,
        Protocol::Http1 => Spoken::Http1,
        Protocol::Http2 => Spoken::Http2,
    };
    server
        .protocol(protocol)
        .stop_on(ShutdownSignal::terminate()?)
        .restart_on(SignalKind::hangup())
        .grace(setting.grace)
        // Who reads it may have gone.
        .on_serving(|| drop(say_ready()))
        .await?;
    Ok(())
}

/// From the predecessor, if there is one.
///
/// # Errors
/// Standard input is none.
pub fn listener() -> Result<HandoffListener, BoxError> {
    match HandoffListener::from_env() {
        Ok(listener) => Ok(listener),
        Err(_) => Ok(HandoffListener::from_fd(
            io::stdin().as_fd().try_clone_to_owned()?,
        )?),
    }
}
