//! How much memory does it take to know a connection?
//!
//! `cargo bench -p graceful-benches --bench bytes`: what this process grows by for each of so many entries, handles not
//! counted. Each way of knowing connections is measured in a process of its own, so that no allocator has kept anything.

use std::{
    fs,
    io::{self, Error, Write},
    process::Command,
};

use graceful_benches::{
    maps::{Dash, Locked},
    register::Register,
};
use graceful_layer::{Connection, Peer, Tracker};

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

fn main() -> io::Result<()> {
    let arguments: Vec<_> = std::env::args().collect();
    let mut out = io::stdout();
    if let [_, how, n] = &arguments[..] {
        let n = n.parse().map_err(Error::other)?;
        return writeln!(out, "{:.1}", bytes(how, n)?);
    }
    for how in ["tracker", "DashMap", "Mutex<HashMap>"] {
        for n in SIZES {
            let output = Command::new(&arguments[0])
                .args([how, &n.to_string()])
                .output()?;
            let bytes = String::from_utf8_lossy(&output.stdout).into_owned();
            writeln!(
                out,
                "{how:<16}{n:>9} connections: {} bytes each",
                bytes.trim()
            )?;
        }
    }
    Ok(())
}

fn bytes(how: &str, n: usize) -> io::Result<f64> {
    // Handles are the user's. They are written once, so that their memory is there before.
    let tracker = Tracker::new();
    let mut handles: Vec<Option<Connection>> = (0..n).map(|_| None).collect();
    let before = memory()?;
    let maps: (Option<Dash>, Option<Locked>) = match how {
        "DashMap" => (Some(Dash::with(n)), None),
        "Mutex<HashMap>" => (None, Some(Locked::with(n))),
        _ => {
            handles.fill_with(|| Some(tracker.open(Peer::Unknown)));
            (None, None)
        }
    };
    let grown = memory()? - before;
    drop(maps);
    Ok(grown / n as f64)
}

fn memory() -> io::Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|value| value.split_whitespace().next()?.parse::<f64>().ok());
    kib.map(|kib| kib * 1024.0)
        .ok_or_else(|| Error::other("no RssAnon in /proc/self/status"))
}
