//! Run `cargo run -p graceful-listener --features axum --example axum_handoff`, then, in another
//! terminal, `while curl -s http://127.0.0.1:8080/; do :; done`, and `kill -HUP` the process it
//! prints. See: the answers go on without a gap, and name the next process and generation.
//!
//! Break it: move the program away before the HUP, and see the old process go on and say why.
//! TERM or Ctrl-C ends it; what is being answered is answered first.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the output is what is to be seen"
)]

use std::io;
use std::process::id;

use axum::Router;
use axum::routing::get;
use graceful_listener::{HandoffError, HandoffListener, Handover, Successor, generation};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = HandoffListener::from_env_or_bind("127.0.0.1:8080")?;
    // This handle keeps the socket open while axum, which has another, finishes.
    let lent = listener.clone();
    let app = Router::new().route("/", get(hello));

    // From here on this process may accept. With a predecessor that is when it has let go.
    graceful_listener::ready().await?;
    println!(
        "process {}, generation {}, on {}",
        id(),
        generation(),
        lent.local_addr()
    );

    // Under systemd, so that a stop waits for this process as for the first one.
    tokio::spawn(graceful_listener::reparented());

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serve = axum::serve(listener, app).with_graceful_shutdown(async { _ = stopped.await });
    let server = tokio::spawn(serve.into_future());

    let handover = until_told_to_stop(&lent).await?;
    if handover.is_none() {
        // Nobody accepts from here on, so nobody shall wait.
        drop(lent);
    }
    // axum stops accepting and finishes what it has.
    drop(stop);
    server.await?
}

async fn hello() -> String {
    format!("process {}, generation {}\n", id(), generation())
}

/// Waits for the signal to stop, or for a successor that has taken over.
async fn until_told_to_stop(listener: &HandoffListener) -> io::Result<Option<Handover>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(None),
            _ = interrupt.recv() => return Ok(None),
            _ = hangup.recv() => match restart(listener).await {
                Ok(handover) => return Ok(Some(handover)),
                Err(error) => eprintln!("process {} goes on: {error}", id()),
            },
        }
    }
}

async fn restart(listener: &HandoffListener) -> Result<Handover, HandoffError> {
    let successor = Successor::builder().start(&[listener]).await?;
    successor.commit().await
}
