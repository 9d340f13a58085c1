//! How many instructions does a request cost, and a connection, beside bare hyper?
//!
//! `cargo bench -p graceful-benches --bench instructions [-- --check | --update] [FILTER]`: instructions repeat where
//! times do not. Each server runs under callgrind, on one thread, with a client in this process that goes on only when
//! the server sleeps again, so that every run takes the same steps. Two runs that differ in the number of requests give
//! the price of one, without start and end; a third one that only waits longer gives what the server does by the clock,
//! which is taken out.

#[path = "instructions/callgrind.rs"]
mod callgrind;
#[path = "instructions/cases.rs"]
mod cases;
#[path = "instructions/table.rs"]
mod table;

use std::{error::Error, io::Write};

use cases::cases;
use table::Table;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let filter = arguments
        .iter()
        .find(|argument| !argument.starts_with("--"));
    if has("--update") && filter.is_some() {
        return Err("--update writes the whole table: it takes no filter".into());
    }
    let mut measured = Table::default();
    let mut out = std::io::stdout();
    for case in cases() {
        if filter.is_some_and(|filter| !case.to_string().contains(filter.as_str())) {
            continue;
        }
        let rows = case.measure().map_err(|error| format!("{case}: {error}"))?;
        for row in rows {
            measured.push(row);
            writeln!(out, "{}", measured.line(measured.rows().len() - 1))?;
        }
    }
    if has("--update") {
        measured.write()?;
    }
    if has("--check") {
        let committed = Table::read()?;
        let off = committed.differences(&measured);
        for line in &off {
            writeln!(out, "{line}")?;
        }
        if !off.is_empty() {
            return Err("instructions are not what benches/instructions.tsv says; if that is meant, run this with --update".into());
        }
    }
    Ok(())
}
