//! What a client sees of a stop, case by case: under `axum::serve`, under tonic, and under `graceful_server::serve`.
//!
//! Run it: `cargo run -p graceful-examples --bin cases`. It prints the table of `docs/cases.md`, and ends with status 1 if
//! the last column is not what that page promises. The same application runs everywhere; what differs is who stops it.

mod http1;
mod http2;
mod servers;
mod wire;

use std::io::{self, Write};
use std::pin::Pin;
use std::process::ExitCode;
use std::thread::{self, JoinHandle};

use self::servers::{Kind, Running};

/// What the client saw, in a few words.
type Seen = &'static str;
type Run = fn(Running) -> Pin<Box<dyn Future<Output = Seen>>>;

/// One state that a stop can find a client in.
struct Case {
    name: &'static str,
    kinds: &'static [Kind],
    run: Run,
    /// What it must see under this project's server.
    promise: Seen,
}

fn main() -> io::Result<ExitCode> {
    let cases = || http1::CASES.iter().chain(http2::CASES);
    // All at once, for most of them wait for somebody who never comes.
    let all: Vec<_> = cases()
        .map(|case| Kind::ALL.map(|kind| thread::spawn(move || run(case, kind))))
        .collect();
    let mut out = io::stdout().lock();
    writeln!(out, "| case | axum::serve | tonic | graceful_server |")?;
    writeln!(out, "|---|---|---|---|")?;
    let mut kept = true;
    for (case, threads) in cases().zip(all) {
        let seen = |thread: JoinHandle<Seen>| thread.join().unwrap_or("**panicked**");
        let [axum, tonic, ours] = threads.map(seen);
        kept &= ours == case.promise;
        writeln!(out, "| {} | {axum} | {tonic} | {ours} |", case.name)?;
    }
    Ok(match kept {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// On a runtime of one thread, so that nobody runs between two steps of a client that belong together.
fn run(case: &Case, kind: Kind) -> Seen {
    if !case.kinds.contains(&kind) {
        return "–";
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(async { (case.run)(Running::start(kind).await).await }),
        Err(_) => "**no runtime**",
    }
}
