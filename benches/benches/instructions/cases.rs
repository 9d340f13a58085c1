//! What is measured.

use std::{fmt, io, path::Path, time::Duration};

use graceful_benches::wire::Protocol;

use super::{
    callgrind::{Cost, Load, as_released, instructions, optimized, serve, valgrind},
    table::Row,
};

pub(super) enum Case {
    /// A middleware over a service that does nothing.
    Layer(&'static str),
    Server(&'static str, Protocol),
    /// A server in the release profile, with 32 streams at once: memory that requests hold at the same time is seen in no other case.
    Streams(&'static str),
}

const LAYERS: [&str; 6] = [
    "none",
    "floor",
    "InFlightRequests",
    "ConnTrackingLayer",
    "GracefulLayer",
    "Connection::service",
];

const SERVERS: [&str; 10] = [
    "hyper",
    "floor",
    "hyper-util",
    "graceful",
    "axum",
    "axum-in-flight",
    "axum-layer",
    "axum-around",
    "graceful-axum",
    "axum-server",
];

const STREAMS: [&str; 4] = ["hyper", "graceful", "axum", "graceful-axum"];

/// The first of each kind is what the others are compared with.
pub(super) fn cases() -> impl Iterator<Item = Case> {
    let servers = [Protocol::Http1, Protocol::Http2]
        .into_iter()
        .flat_map(|protocol| SERVERS.map(|kind| Case::Server(kind, protocol)));
    let layers = LAYERS.map(Case::Layer).into_iter();
    layers.chain(servers).chain(STREAMS.map(Case::Streams))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(layer) => write!(f, "{layer} call"),
            Self::Server(kind, protocol) => write!(f, "{kind} {}", protocol.as_str()),
            Self::Streams(kind) => write!(f, "{kind} 32 streams"),
        }
    }
}

const FEW: u32 = 100;
const MANY: u32 = 1_100;
const CONNECTIONS: u32 = 200;
const WAIT: Duration = Duration::from_secs(2);

impl Case {
    pub(super) fn measure(&self) -> io::Result<Vec<Row>> {
        match self {
            Self::Layer(layer) => layer_call(layer),
            Self::Server(kind, protocol) => server(kind, *protocol),
            Self::Streams(kind) => streams(kind),
        }
    }
}

fn layer_call(layer: &'static str) -> io::Result<Vec<Row>> {
    let run = |calls: u32| {
        let (mut command, out) = valgrind(layer);
        let status = command
            .arg(env!("CARGO_BIN_EXE_bench-noop"))
            .args([layer, &calls.to_string()])
            .status()?;
        match status.success() {
            true => instructions(out),
            false => Err(io::Error::other(format!("bench-noop {layer}: {status}"))),
        }
    };
    let each = (run(MANY)? - run(FEW)?) / f64::from(MANY - FEW);
    Ok(vec![Row::new(layer, "call", each)])
}

/// A server that has had `FEW` requests, and nothing else.
const fn quiet(protocol: Protocol) -> Load {
    Load {
        protocol,
        requests: FEW,
        streams: 1,
        connections: 0,
        wait: Duration::ZERO,
    }
}

/// The instructions that the server takes in a second without a request, and those of the run with few requests.
struct Clock {
    few: Cost,
    instructions_per_second: f64,
}

impl Clock {
    fn of(kind: &str, program: &Path, few: Load) -> io::Result<Self> {
        let cost = serve(kind, program, few)?;
        let waiting = serve(kind, program, Load { wait: WAIT, ..few })?;
        Ok(Self {
            few: cost,
            instructions_per_second: (waiting.instructions - cost.instructions)
                / (waiting.seconds - cost.seconds),
        })
    }

    /// The instructions of each of the `by` that `more` has more than `few`.
    fn each(&self, more: Cost, by: u32) -> f64 {
        let clock = self.instructions_per_second * (more.seconds - self.few.seconds);
        (more.instructions - self.few.instructions - clock) / f64::from(by)
    }
}

fn server(kind: &'static str, protocol: Protocol) -> io::Result<Vec<Row>> {
    let (quiet, program) = (quiet(protocol), &optimized());
    let clock = Clock::of(kind, program, quiet)?;
    let (requests, connections) = (MANY, CONNECTIONS);
    let requests = serve(kind, program, Load { requests, ..quiet })?;
    let connections = serve(
        kind,
        program,
        Load {
            connections,
            ..quiet
        },
    )?;
    let name = protocol.as_str();
    Ok(vec![
        Row::new(
            kind,
            &format!("{name} request"),
            clock.each(requests, MANY - FEW),
        ),
        Row::new(
            kind,
            &format!("{name} connection"),
            clock.each(connections, CONNECTIONS),
        ),
    ])
}

fn streams(kind: &'static str) -> io::Result<Vec<Row>> {
    const AT_ONCE: u32 = 32;
    let program = &as_released(&STREAMS)?;
    let few = Load {
        requests: 20 * AT_ONCE,
        streams: AT_ONCE,
        ..quiet(Protocol::Http2)
    };
    let many = Load {
        requests: 120 * AT_ONCE,
        ..few
    };
    let clock = Clock::of(kind, program, few)?;
    let each = clock.each(serve(kind, program, many)?, many.requests - few.requests);
    Ok(vec![Row::new(kind, "http2 request of 32 at once", each)])
}
