//! Under load: wrk and h2load, with the server's CPU time.

use std::{
    io::{self, Error},
    process::Command,
    time::Duration,
};

use graceful_benches::{process::listener, wire};

use super::contestant::{ALONE, Contestant, pinned};

/// What the load generator does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    /// HTTP/1.1 on 64 connections.
    KeepAlive,
    /// A connection for each request.
    Close,
    /// HTTP/2, 16 connections of 32 streams.
    Http2,
}

/// Requests a second, and microseconds of the server's CPU for each.
pub(super) fn measure(
    contestant: Contestant,
    load: Load,
    duration: Duration,
) -> io::Result<Vec<f64>> {
    let (listener, addr) = listener()?;
    let server = contestant.start(&listener, ALONE)?;
    let protocol = match load {
        Load::Http2 => wire::Protocol::Http2,
        Load::KeepAlive | Load::Close => wire::Protocol::Http1,
    };
    wire::Client::connect(addr, protocol)?.request(false)?;
    let url = format!("http://{addr}/");
    let before = server.cpu()?;
    let text = output(&mut command(load, duration, &url))?;
    let cpu = server.cpu()? - before;
    let (requests, per_second) = match load {
        Load::Http2 => h2load(&text),
        Load::KeepAlive | Load::Close => wrk(&text),
    }
    .ok_or_else(|| Error::other(format!("not every request was answered: {text}")))?;
    Ok(vec![per_second, cpu.as_secs_f64() * 1e6 / requests])
}

fn command(load: Load, duration: Duration, url: &str) -> Command {
    let seconds = duration.as_secs().max(1).to_string();
    match load {
        Load::KeepAlive | Load::Close => {
            let mut wrk = pinned(1, "wrk");
            wrk.args(["-t1", "-c64", "-d", &seconds]);
            if matches!(load, Load::Close) {
                wrk.args(["-H", "Connection: close"]);
            }
            wrk.arg(url);
            wrk
        }
        Load::Http2 => {
            let mut h2load = pinned(1, "h2load");
            h2load.args(["-t1", "-c16", "-m32", "-D", &seconds, url]);
            h2load
        }
    }
}

fn output(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(Error::other(format!("{command:?}: {}", output.status))),
    }
}

/// Requests and requests a second, if there were no errors: `  204656 requests in 1.00s, …`.
fn wrk(text: &str) -> Option<(f64, f64)> {
    let failed = text.contains("Socket errors") || text.contains("Non-2xx");
    let requests = before(text, " requests in ")?;
    let per_second = after(text, "Requests/sec:")?;
    (!failed).then_some((requests, per_second))
}

/// `finished in 1.00s, 235000.00 req/s, …` and `requests: 235000 total, …, 0 failed, …`.
fn h2load(text: &str) -> Option<(f64, f64)> {
    let line = text.lines().find(|line| line.starts_with("requests:"))?;
    let failed = before(line, " failed")?;
    let requests = before(line, " succeeded")?;
    let per_second = before(text, " req/s")?;
    (failed == 0.0 && requests > 0.0).then_some((requests, per_second))
}

fn before(text: &str, mark: &str) -> Option<f64> {
    text.split(mark)
        .next()?
        .split_whitespace()
        .last()?
        .parse()
        .ok()
}

fn after(text: &str, mark: &str) -> Option<f64> {
    text.split(mark)
        .nth(1)?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}
