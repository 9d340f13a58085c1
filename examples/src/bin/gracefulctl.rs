//! Asks a running server for something at its control socket, and waits for the outcome: for `ExecReload=` of a unit and
//! for deployment scripts, which get a real exit status where a signal would only have been sent.
//!
//! Run it: `cargo run -p graceful-examples --bin gracefulctl -- --socket /run/app/control restart`
//!
//! It knows the commands of every server that uses `graceful_server::Serve::control`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use graceful_examples::duration;
use graceful_server::listener::command;

/// Asks a running server for something at its control socket and waits for the outcome.
///
/// Exit status: 0 it is done, 1 it is not and the reason is on standard error, 2 usage, 3 no server is there.
#[derive(Debug, Parser)]
#[command(name = "gracefulctl")]
struct Args {
    /// The control socket of the server
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,

    /// How long to wait for the outcome; the server goes on afterwards
    #[arg(long, value_name = "D", default_value = "90s", value_parser = duration, global = true)]
    timeout: Duration,

    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Command {
    /// Shows phase, generation, process and counts as one line of JSON
    Status,
    /// Begins the stop
    Drain {
        /// Waits until it is over and shows the report
        #[arg(long)]
        wait: bool,
    },
    /// Takes the stop back, as long as clients have only been asked to go
    Resume,
    /// Starts a successor and waits until it has taken over; a stop that has begun is this process's alone then
    Restart,
    /// Cuts what is left of a stop; a server that serves is stopped by it, at once
    Cutoff,
}

impl Command {
    fn text(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Drain { wait: false } => "drain",
            Self::Drain { wait: true } => "drain wait",
            Self::Resume => "resume",
            Self::Restart => "restart",
            Self::Cutoff => "cutoff",
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match command(&args.socket, args.command.text(), args.timeout) {
        Ok(answer) => {
            // Whoever read our output may have gone; the server has done it all the same.
            let _ = writeln!(io::stdout(), "{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "gracefulctl: {error:?}");
            ExitCode::from(if error.is_nobody_there() { 3 } else { 1 })
        }
    }
}
