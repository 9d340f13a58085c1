//! Restarts the reference server under a mixed load and counts what was lost. The answer should be:
//! nothing.
//!
//! Run it: `cargo run --release -p graceful-examples --bin demonstration`
//!
//! It starts the reference server as a process of its own, sends it thousands of requests per
//! second of nine kinds, restarts it five times, stops it while the load goes on, and then shows
//! what became of every single request. The exit status is 0 only if every one was answered,
//! completely and correctly.

mod args;
mod change;
mod failure;
mod frame;
mod html;
mod json;
mod kind;
mod ledger;
mod lines;
mod locate;
mod mix;
mod paint;
mod process;
mod report;
mod run;
mod server;
mod status;
mod tables;
mod tally;
mod terminal;
mod text;
mod timeline;
mod times;
mod view;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Args;
use crate::failure::Failure;
use crate::ledger::{Books, Ledger};
use crate::lines::Tail;
use crate::paint::Paint;
use crate::report::Report;
use crate::server::Server;
use crate::status::Board;
use crate::view::Scene;

/// One thread: the other core, if there is one, belongs to the server.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(usage) => {
            let _ = usage.print();
            return if usage.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match demonstrate(&args).await {
        Ok((report, log)) => publish(&args, &report, &log),
        Err(failure) => complain(&failure, 3),
    }
}

/// Fails only when there is nothing to report.
async fn demonstrate(args: &Args) -> Result<(Report, Tail), Failure> {
    let path = args
        .server
        .clone()
        .map_or_else(locate::reference_server, Ok)?;
    let mut interrupted = Interrupt::new()?;
    let server = tokio::select! {
        server = Server::start(&path, &args.flags) => server?,
        () = interrupted.wait() => return Err(Failure::new("interrupted")),
    };
    let log = server.log();
    let (ledger, board) = (Arc::new(Ledger::new()), Board::default());
    board.add(server.current().number, server.current().pid());
    let scene = Scene::new(&ledger, &board, args.restarts);
    let result = tokio::select! {
        never = board.clone().follow(server.admin()) => match never {},
        never = view::follow(&scene) => match never {},
        () = interrupted.wait() => Err(Failure::new("interrupted")),
        result = run::run(args, server, &ledger, &board) => result,
    };
    Ok((Report::new(args, ledger.read(Books::clone), result), log))
}

fn publish(args: &Args, report: &Report, log: &Tail) -> ExitCode {
    let mut text = terminal::render(report, Paint::for_stdout(), paint::columns());
    let said = log.lines().join("\n  ");
    if !report.is_success() && !said.is_empty() {
        text.insert_str(0, &format!("\nThe server's last words\n  {said}\n"));
    }
    // Whoever stopped reading still has the exit status.
    let _ = io::stdout().write_all(text.as_bytes());
    match write_files(args, report) {
        Ok(()) if report.is_success() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(failure) => complain(&failure, 1),
    }
}

fn write_files(args: &Args, report: &Report) -> Result<(), Failure> {
    let json = args
        .json
        .as_ref()
        .map(|path| (path, format!("{:#}\n", json::render(report))));
    let html = args.html.as_ref().map(|path| (path, html::render(report)));
    for (path, text) in json.into_iter().chain(html) {
        let writing = Failure::of(format!("cannot write {}", path.display()));
        fs::write(path, text).map_err(writing)?;
    }
    Ok(())
}

fn complain(failure: &Failure, status: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {failure}");
    ExitCode::from(status)
}

/// Whatever asks us to end. The server is killed on the way out.
struct Interrupt([tokio::signal::unix::Signal; 3]);

impl Interrupt {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::of("cannot listen for signals"));
        let [interrupt, terminate, hangup] = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        Ok(Self([
            listen(interrupt)?,
            listen(terminate)?,
            listen(hangup)?,
        ]))
    }

    async fn wait(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
