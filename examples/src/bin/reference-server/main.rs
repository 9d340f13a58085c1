//! The reference server: every feature of the workspace in one ordinary axum program.
//!
//! Run it: `cargo run --release -p graceful-examples --bin reference-server -- --admin 127.0.0.1:8081`
//!
//! Then, from another terminal: `curl localhost:8080/slow?ms=3000`, and meanwhile `kill -TERM PID` (the answer arrives,
//! the exit status is 0) or `kill -HUP PID` (a successor serves, the generation goes up by one). The page at
//! `http://127.0.0.1:8081/` shows what happens.
//!
//! # Order of events
//! 1. Signals are caught first: from here on none of them kills by accident.
//! 2. All listeners are taken over from a predecessor, a running server at its control socket or a service manager, or
//!    bound, before anything that takes time: a mistake shows at once, and what nobody claims is closed when the process
//!    is ready.
//! 3. The application is made. It looks at the phase through the tracker that the server counts in.
//! 4. The server is awaited. It says READY to the predecessor, waits for its COMMIT, and only then runs the hook that
//!    says `ready` to everybody else.
//! 5. The report decides the exit status; what was cut is in the journal by name.
//!
//! With `--supervise` the process that is started does only the second of these, and its worker, which has the same
//! command line, does all of them.
//!
//! Nothing here is privileged: what this program does with the workspace, any program can.

mod admin;
mod app;
mod args;
mod identity;
mod journal;
mod metrics;
mod pid_file;
mod save;
mod serving;
mod signals;
mod status;
mod streaming;
mod terminal;
mod told;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use graceful_server::{
    ControlSocket, HandoffListener, Report, Serve, SignalKind, Successor, SuccessorBuilder,
    Supervisor, TlsConfig, Tracker, serve,
};
use tokio::time::sleep;

use crate::args::Args;
use crate::identity::Identity;
use crate::journal::Journal;
use crate::serving::Serving;
use crate::status::Status;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    terminal::init_log();
    let status = match args.supervises() {
        true => supervise(args).await,
        false => run(args).await.map(|report| {
            let clean = report.as_ref().is_none_or(Report::is_clean);
            u8::from(!clean)
        }),
    };
    let status = status.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "reference-server: {}", chain(&*error));
        3
    });
    ExitCode::from(status)
}

/// Keeps the listeners and has a worker do the rest. What that writes is not ours to write again.
async fn supervise(args: Args) -> Result<u8, Box<dyn Error>> {
    args.take_over()?;
    let Listeners {
        main,
        admin,
        control,
    } = claim(&args)?;
    let control = control.map(|socket| socket.listener().clone());
    let supervisor =
        Supervisor::new(main.into_iter().chain(admin).chain(control)).worker(worker(&args));
    Ok(supervisor.run().await?)
}

/// From the first signal handler to the report; without one if the stop came before the start was over.
async fn run(args: Args) -> Result<Option<Report>, Box<dyn Error>> {
    let tracker = Tracker::new();
    let stop = signals::stop(&tracker)?;
    args.take_over()?;
    let status = Status::new(tracker.clone(), Identity::of_this_process());
    status.identity().sign_refusals(&tracker);
    let _hooks = signals::listen(&status)?;

    let listeners = claim(&args)?;
    let names = listeners
        .main
        .iter()
        .map(|listener| listener.local_addr().to_string());
    status.name_listeners(names.collect());
    let journal = args.journal.as_deref().map(Journal::open).transpose()?;
    if let Some(journal) = &journal {
        journal.follow(&tracker, status.identity());
    }
    args.warn_of_misfits();
    let serving = Serving::new(&listeners, &status);
    let server = server(listeners, args.tls()?, &status)
        .ok_or("there is no --listen")?
        .with_tracker(tracker)
        .stop_on(stop.clone())
        .restart_on(SignalKind::hangup())
        .beside_on(SignalKind::user_defined2())
        .move_idle_connections(true)
        .successor(Successor::builder().ready_timeout(args.ready_timeout))
        .grace(args.grace())
        .protocol(args.http.protocol())
        .store_listeners(true);

    tokio::select! {
        () = sleep(args.start_delay) => {}
        // Nobody was served, so nobody is to be drained.
        () = stop => return Ok(None),
    }
    let _live = terminal::show_drain(&status);
    serving.clone().follow();
    let pid_file = args.pid_file();
    let report = server
        .on_serving(move || serving.announce())
        .on_alone(move || pid_file.write_or_warn())
        .await?;
    tracing::info!("{report}");
    if let Some(journal) = journal {
        journal.conclude(&report, status.identity());
    }
    // Whoever it was handed over to owns the file, and may be about to write it.
    if !report.handed_over {
        args.pid_file().remove_if_mine();
    }
    Ok(Some(report))
}

/// The program has to be able to say something before it is started as a worker, or takes the supervisor's place.
fn worker(args: &Args) -> SuccessorBuilder {
    Successor::builder()
        .ready_timeout(args.ready_timeout)
        .check(["--help"])
}

/// Every listener of the process, `--listen` before `--admin`: in the next process the same order gives each its own,
/// also where two of them were asked for as port 0.
fn claim(args: &Args) -> Result<Listeners, Box<dyn Error>> {
    let claim = HandoffListener::from_env_or_bind::<&graceful_server::ListenAddr>;
    Ok(Listeners {
        main: args.listen.iter().map(claim).collect::<Result<_, _>>()?,
        admin: args.admin.as_ref().map(claim).transpose()?,
        control: args.control.as_ref().map(ControlSocket::bind).transpose()?,
    })
}

struct Listeners {
    main: Vec<HandoffListener>,
    admin: Option<HandoffListener>,
    control: Option<ControlSocket>,
}

/// All of them under one drain, but for the operators' listener, which answers to its end, and without TLS.
fn server(listeners: Listeners, tls: Option<TlsConfig>, status: &Status) -> Option<Serve> {
    let app = app::router(status);
    let main = listeners
        .main
        .into_iter()
        .map(|listener| serve(listener, app.clone()));
    let mut server = main.reduce(Serve::and)?;
    if let Some(socket) = listeners.control {
        server = server.control(socket);
    }
    if let Some(tls) = tls {
        server = server.tls(tls);
    }
    Some(match listeners.admin {
        Some(listener) => {
            let admin = admin::router(status, server.restart_trigger());
            server.aside(serve(listener, admin))
        }
        None => server,
    })
}

/// An error with its causes, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
