//! How soon a new process answers a request that waits for it.

use std::{io, time::Instant};

use graceful_benches::{
    process::listener,
    wire::{Client, Protocol},
};

use super::{
    contestant::{Contestant, Setting},
    drain::millis,
};

/// Milliseconds from starting the process to its first answer, to a request that was in the listener's queue before.
pub(super) fn measure(contestant: Contestant) -> io::Result<Vec<f64>> {
    let (listener, addr) = listener()?;
    let mut client = Client::connect(addr, Protocol::Http1)?;
    client.send("/")?;
    let setting = Setting {
        workers: 2,
        pinned: false,
        at_once: true,
        piped: false,
    };
    let began = Instant::now();
    let server = contestant.start(&listener, setting)?;
    client.answered()?;
    let took = began.elapsed();
    drop(server);
    Ok(vec![millis(took)])
}
