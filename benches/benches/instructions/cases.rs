//! What is measured.

use std::{fmt, io, time::Duration};

use graceful_benches::wire::Protocol;

use super::{
    callgrind::{Cost, Load, instructions, serve, valgrind},
    table::Row,
};

pub(super) enum Case {
    /// A middleware over a service that does nothing.
    Layer(&'static str),
    Server(&'static str, Protocol),
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

/// The first of each kind is what the others are compared with.
pub(super) fn cases() -> impl Iterator<Item = Case> {
    let servers = [Protocol::Http1, Protocol::Http2]
        .into_iter()
        .flat_map(|protocol| SERVERS.map(|kind| Case::Server(kind, protocol)));
    let layers = LAYERS.map(Case::Layer).into_iter();
    layers.chain(servers)
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(layer) => write!(f, "{layer} call"),
            Self::Server(kind, protocol) => write!(f, "{kind} {}", protocol.as_str()),
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
        connections: 0,
        wait: Duration::ZERO,
    }
}

fn server(kind: &'static str, protocol: Protocol) -> io::Result<Vec<Row>> {
    let quiet = quiet(protocol);
    let few = serve(kind, quiet)?;
    let waiting = serve(
        kind,
        Load {
            wait: WAIT,
            ..quiet
        },
    )?;
    let by_the_clock = (waiting.instructions - few.instructions) / (waiting.seconds - few.seconds);
    let each = |more: Cost, by: u32| {
        let clock = by_the_clock * (more.seconds - few.seconds);
        (more.instructions - few.instructions - clock) / f64::from(by)
    };
    let (requests, connections) = (MANY, CONNECTIONS);
    let per_request = each(serve(kind, Load { requests, ..quiet })?, MANY - FEW);
    let per_connection = each(
        serve(
            kind,
            Load {
                connections,
                ..quiet
            },
        )?,
        CONNECTIONS,
    );
    let name = protocol.as_str();
    Ok(vec![
        Row::new(kind, &format!("{name} request"), per_request),
        Row::new(kind, &format!("{name} connection"), per_connection),
    ])
}
