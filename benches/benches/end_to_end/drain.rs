//! How a server stops: with idle connections, with one answer under way; and what an idle connection holds.

use std::{
    io::{self, Error},
    thread,
    time::{Duration, Instant},
};

use graceful_benches::{
    process::listener,
    service::SLOW_PATH,
    wire::{Client, Protocol},
};
use rustix::process::Signal;

use super::{
    contestant::{ALONE, Contestant},
    idle,
};

/// How long connections have been idle, at the least, that are called so.
const IDLE: Duration = Duration::from_secs(1);

/// Milliseconds from SIGTERM to the end of the process, with `n` idle connections.
pub(super) fn idle(contestant: Contestant, n: usize) -> io::Result<Vec<f64>> {
    let (listener, addr) = listener()?;
    let mut server = contestant.start(&listener, ALONE)?;
    // Open elsewhere, the listener would outlive the server, and so would what is in its queue.
    drop(listener);
    let clients = idle::close_when_closed(idle::open(addr, n)?);
    thread::sleep(IDLE);
    let began = Instant::now();
    server.signal(Signal::TERM)?;
    server.wait()?;
    let took = began.elapsed();
    clients
        .join()
        .map_err(|_| Error::other("the client panicked"))??;
    Ok(vec![millis(took)])
}

/// Milliseconds from the last byte of the last answer to the end of the process.
pub(super) fn lateness(contestant: Contestant) -> io::Result<Vec<f64>> {
    let (listener, addr) = listener()?;
    let mut server = contestant.start(&listener, ALONE)?;
    let mut client = Client::connect(addr, Protocol::Http1)?;
    client.request(false)?;
    client.send(SLOW_PATH)?;
    thread::sleep(Duration::from_millis(100));
    server.signal(Signal::TERM)?;
    client.answered()?;
    let answered = Instant::now();
    drop(client);
    server.wait()?;
    Ok(vec![millis(answered.elapsed())])
}

/// Bytes of anonymous memory that one of `n` idle connections holds after a request: opened as fast as can be, then with
/// another server a thousand a second.
pub(super) fn memory(contestant: Contestant, n: usize) -> io::Result<Vec<f64>> {
    let paces = [Duration::ZERO, Duration::from_millis(1)];
    paces
        .map(|pace| memory_opened(contestant, n, pace))
        .into_iter()
        .collect()
}

fn memory_opened(contestant: Contestant, n: usize, pace: Duration) -> io::Result<f64> {
    let (listener, addr) = listener()?;
    let server = contestant.start(&listener, ALONE)?;
    // What the first connections cost is the server's, not theirs.
    let first = idle::open(addr, 100)?;
    let before = server.memory()?;
    let streams = idle::open_paced(addr, n, pace)?;
    thread::sleep(IDLE);
    let each = (server.memory()? as f64 - before as f64) / n as f64;
    drop((first, streams));
    Ok(each)
}

pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
