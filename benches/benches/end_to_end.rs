//! What does a whole server cost, and how does it stop, beside the servers people run today?
//!
//! `cargo bench -p graceful-benches --bench end_to_end [-- [--quick] [--rounds N] [FILTER]]`: asks every question of every server, one
//! after the other and then again, so that a noisy moment hits all of them, and compares within a round. Medians and ranges
//! go to `benches/RESULTS.md` and `benches/results.svg`, if everything was asked. Servers run on one core, clients on the other. `--quick` is a smoke
//! test of this harness: one round of little, and nothing is written.

#[path = "end_to_end/ask.rs"]
mod ask;
#[path = "end_to_end/chart.rs"]
mod chart;
#[path = "end_to_end/contestant.rs"]
mod contestant;
#[path = "end_to_end/drain.rs"]
mod drain;
#[path = "end_to_end/idle.rs"]
mod idle;
#[path = "end_to_end/load.rs"]
mod load;
#[path = "end_to_end/machine.rs"]
mod machine;
#[path = "end_to_end/questions.rs"]
mod questions;
#[path = "end_to_end/restart.rs"]
mod restart;
#[path = "end_to_end/results.rs"]
mod results;
#[path = "end_to_end/start.rs"]
mod start;

use std::{error::Error, io::Write};

use graceful_benches::process::raise_limit;

fn main() -> Result<(), Box<dyn Error>> {
    let Asked {
        quick,
        rounds,
        filter,
    } = arguments(std::env::args().skip(1))?;
    let mut out = std::io::stdout();
    if !contestant::GO.is_there() {
        writeln!(
            out,
            "SKIPPED: {}, no Go toolchain here\n",
            contestant::GO.name
        )?;
    }
    let mut asked = Vec::new();
    for mut question in questions::questions(quick, raise_limit()?) {
        if !question.title.contains(&filter) {
            continue;
        }
        question.rounds = rounds.unwrap_or(question.rounds);
        let answers = ask::ask(&question)?;
        writeln!(out, "{}", results::table(&question, &answers))?;
        asked.push((question, answers));
    }
    if !quick && filter.is_empty() {
        results::write(&asked)?;
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Asked {
    quick: bool,
    rounds: Option<usize>,
    /// In the title of what is asked.
    filter: String,
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Asked, Box<dyn Error>> {
    let mut asked = Asked::default();
    while let Some(argument) = given.next() {
        match argument.as_str() {
            // cargo says it to every bench.
            "--bench" => {}
            "--quick" => asked.quick = true,
            "--rounds" => asked.rounds = Some(given.next().unwrap_or_default().parse()?),
            flag if flag.starts_with("--") => return Err(format!("{flag} is not known").into()),
            filter => filter.clone_into(&mut asked.filter),
        }
    }
    Ok(asked)
}
