//! Standard error: the log, and on a terminal one live line below it while draining.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use graceful_server::{ConnState, Phase};
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tracing_subscriber::EnvFilter;

use crate::status::Status;

/// To the first column, and nothing to the right of it.
const CLEAR: &[u8] = b"\r\x1b[K";
const FRAME: Duration = Duration::from_millis(100);

/// `RUST_LOG` says what is logged; `info` if it says nothing.
pub(crate) fn init_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        .with_writer(|| Log)
        // A standard error that nobody reads any more must not end the server.
        .log_internal_errors(false)
        .init();
}

/// A log line takes the place of the live line, which comes back below it.
struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        if stderr.is_terminal() {
            stderr.write_all(CLEAR)?;
        }
        stderr.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Shows what is still open, and the time left, while there is a stop. Ends with the value.
pub(crate) fn show_drain(status: &Status) -> Option<Live> {
    let status = status.clone();
    io::stderr()
        .is_terminal()
        .then(|| Live(tokio::spawn(show(status)).abort_handle()))
}

#[derive(Debug)]
pub(crate) struct Live(AbortHandle);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.abort();
        let _ = io::stderr().write_all(CLEAR);
    }
}

async fn show(status: Status) {
    loop {
        status.tracker().reached(Phase::LameDuck).await;
        let frame = [CLEAR, line(&status).as_bytes()].concat();
        let _ = io::stderr().write_all(&frame);
        sleep(FRAME).await;
        if status.phase() == Phase::Serving {
            let _ = io::stderr().write_all(CLEAR);
        }
    }
}

fn line(status: &Status) -> String {
    let tracker = status.tracker();
    let counts = tracker.counts();
    let states = ConnState::LIVE
        .iter()
        .filter(|state| counts.of(**state) > 0);
    let states: Vec<_> = states
        .map(|state| format!("{} {state}", counts.of(*state)))
        .collect();
    let left = status.time_left().unwrap_or_default().as_secs_f32();
    let (phase, in_flight) = (tracker.phase(), tracker.in_flight());
    let connections = match states.is_empty() {
        true => "none".to_owned(),
        false => states.join(", "),
    };
    format!(
        "{phase}: {in_flight} requests in flight, connections: {connections}; cut in {left:.1} s"
    )
}
