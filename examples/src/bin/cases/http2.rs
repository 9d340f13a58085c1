//! The cases of HTTP/2, with frames written by hand (RFC 9113 §4.1).

use std::io;

use crate::http1::{exits, seen};
use crate::servers::{Kind, Running};
use crate::wire::{Wire, moment};
use crate::{Case, Seen};

pub(crate) const CASES: &[Case] = &[
    case("HTTP/2: stream in the handler", "answered", |server| {
        seen(in_handler(server))
    }),
    case(
        "HTTP/2: stream that races the GOAWAY",
        "answered",
        |server| seen(racing(server)),
    ),
    case(
        "HTTP/2: peer that never answers the PING",
        "exits",
        |server| seen(silent(server, Silence::NoPong)),
    ),
    case("HTTP/2: half a preface", "exits", |server| {
        seen(silent(server, Silence::HalfPreface))
    }),
    case("HTTP/2: half a frame", "exits", |server| {
        seen(silent(server, Silence::HalfFrame))
    }),
    case("HTTP/2: connected, no byte", "exits", |server| {
        seen(silent(server, Silence::NoByte))
    }),
];

const fn case(name: &'static str, promise: Seen, run: crate::Run) -> Case {
    Case {
        name,
        kinds: &Kind::ALL,
        run,
        promise,
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
/// What h2 sends with its GOAWAY, and the answer to it.
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0\x0b\x7b\xa2\xf0\x8b\x9b\xfe\x54";
const PONG: &[u8] = b"\0\0\x08\x06\x01\0\0\0\0\x0b\x7b\xa2\xf0\x8b\x9b\xfe\x54";

/// GET of http://test, in one frame.
fn get(stream: u8, path: &str) -> Vec<u8> {
    let block = [
        b"\x82\x86\x41\x04test\x44",
        &[path.len() as u8][..],
        path.as_bytes(),
    ]
    .concat();
    [
        &[0, 0, block.len() as u8, 1, 5, 0, 0, 0, stream],
        &block[..],
    ]
    .concat()
}

/// A connection on which one request was answered.
async fn used(server: &Running) -> io::Result<Wire> {
    let mut wire = Wire::open(server.addr).await?;
    wire.send([PREFACE, SETTINGS, &get(1, "/")].concat())
        .await?;
    wire.read_until(b"hello").await?;
    moment().await;
    Ok(wire)
}

async fn in_handler(server: Running) -> io::Result<Seen> {
    let mut wire = used(&server).await?;
    wire.send(get(3, "/slow")).await?;
    moment().await;
    server.stop();
    answered(wire, b"slow").await
}

async fn racing(server: Running) -> io::Result<Seen> {
    let mut wire = used(&server).await?;
    server.stop();
    wire.read_until(PING).await?;
    wire.send(get(3, "/")).await?;
    wire.send(PONG).await?;
    answered(wire, b"hello").await
}

async fn answered(mut wire: Wire, body: &[u8]) -> io::Result<Seen> {
    wire.send(PONG).await?;
    let rest = wire.rest().await?;
    Ok(match rest.windows(body.len()).any(|part| part == body) {
        true => "answered",
        false => "**no answer**",
    })
}

#[derive(Clone, Copy)]
enum Silence {
    NoByte,
    HalfPreface,
    NoPong,
    HalfFrame,
}

async fn silent(server: Running, silence: Silence) -> io::Result<Seen> {
    let wire = match silence {
        Silence::NoByte => Wire::open(server.addr).await?,
        Silence::HalfPreface => {
            let mut wire = Wire::open(server.addr).await?;
            wire.send(&PREFACE[..10]).await?;
            wire
        }
        Silence::NoPong => used(&server).await?,
        Silence::HalfFrame => {
            let mut wire = used(&server).await?;
            wire.send(&get(3, "/")[..5]).await?;
            wire
        }
    };
    moment().await;
    server.stop();
    let exits = exits(server).await;
    drop(wire);
    Ok(exits)
}
