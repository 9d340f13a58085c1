//! The cases of HTTP/1.

use std::io;
use std::pin::Pin;

use crate::servers::{Kind, Running};
use crate::wire::{GET, Wire, moment};
use crate::{Case, Seen};

const ANSWERED: Seen = "answered, `close`";

pub(crate) const CASES: &[Case] = &[
    case(
        "new connection, request after the signal",
        ANSWERED,
        |server| seen(parts(server, "", "", GET, "hello")),
    ),
    case(
        "`P` of a POST, the rest after the signal",
        ANSWERED,
        |server| seen(parts(server, "", &POST[..1], &POST[1..], "hello")),
    ),
    case("half a first head, the rest after", ANSWERED, |server| {
        seen(parts(server, "", &GET[..9], &GET[9..], "hello"))
    }),
    case("half a later head, the rest after", ANSWERED, |server| {
        seen(parts(server, GET, &GET[..9], &GET[9..], "hello"))
    }),
    case("half a head, never finished", "exits", |server| {
        seen(stays(server, &GET[..9]))
    }),
    case(
        "idle, request 100 ms after the signal",
        ANSWERED,
        |server| seen(parts(server, GET, "", GET, "hello")),
    ),
    case(
        "idle, request in the kernel at the signal",
        ANSWERED,
        |server| seen(crossing(server)),
    ),
    case(
        "accept queue: connected, not accepted yet",
        ANSWERED,
        |server| seen(queued(server)),
    ),
    case("in the handler", ANSWERED, |server| {
        seen(parts(server, "", SLOW, "", "slow"))
    }),
    case("half a body, the rest after", ANSWERED, |server| {
        seen(parts(server, "", &POST[..POST.len() - 2], "lo", "hello"))
    }),
    case("answer streaming, its head sent", "answered", |server| {
        seen(streaming(server))
    }),
    case(
        "answered early, a large upload unread",
        ANSWERED,
        |server| seen(upload(server)),
    ),
    case(
        "handler that never ends",
        "503 at the deadline; exits",
        |server| seen(hanging(server)),
    ),
    case("WebSocket", "Close frame; exits after it", |server| {
        seen(websocket(server))
    }),
];

const POST: &str = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";
const SLOW: &str = "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";

const fn case(name: &'static str, promise: Seen, run: crate::Run) -> Case {
    Case {
        name,
        kinds: Kind::HTTP1,
        run,
        promise,
    }
}

pub(crate) fn seen(
    case: impl Future<Output = io::Result<Seen>> + 'static,
) -> Pin<Box<dyn Future<Output = Seen>>> {
    Box::pin(async { case.await.unwrap_or("**lost**") })
}

/// `before` is a whole request, answered; `first` leaves before the signal and `rest` after it.
async fn parts(
    server: Running,
    before: &'static str,
    first: &'static str,
    rest: &'static str,
    end: &'static str,
) -> io::Result<Seen> {
    let mut wire = Wire::open(server.addr).await?;
    if !before.is_empty() {
        wire.send(before).await?;
        wire.read_until(b"hello").await?;
    }
    wire.send(first).await?;
    moment().await;
    server.stop();
    moment().await;
    wire.send(rest).await?;
    Ok(wire.answer(end).await)
}

async fn stays(server: Running, half: &'static str) -> io::Result<Seen> {
    let mut wire = Wire::open(server.addr).await?;
    wire.send(half).await?;
    moment().await;
    server.stop();
    Ok(exits(server).await)
}

pub(crate) async fn exits(server: Running) -> Seen {
    match server.ends().await {
        true => "exits",
        false => "**does not exit**",
    }
}

async fn crossing(server: Running) -> io::Result<Seen> {
    let mut wire = Wire::open(server.addr).await?;
    wire.send(GET).await?;
    wire.read_until(b"hello").await?;
    moment().await;
    // The server's tasks run on this thread, and nothing gives them a turn between these two.
    wire.send_now(GET)?;
    server.stop();
    Ok(wire.answer("hello").await)
}

async fn queued(server: Running) -> io::Result<Seen> {
    use std::io::Write;
    let mut clients = Vec::new();
    for _ in 0..30 {
        let mut client = std::net::TcpStream::connect(server.addr)?;
        client.write_all(GET.as_bytes())?;
        client.set_nonblocking(true)?;
        clients.push(Wire::from_std(client)?);
    }
    server.stop();
    let mut last = "";
    for mut client in clients {
        last = client.answer("hello").await;
        if last.starts_with('*') {
            break;
        }
    }
    Ok(last)
}

async fn streaming(server: Running) -> io::Result<Seen> {
    let mut wire = Wire::open(server.addr).await?;
    wire.send("GET /stream HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    wire.read_until(b"part\r\n").await?;
    server.stop();
    Ok(wire.answer("0\r\n\r\n").await)
}

/// Sends all of it, and reads only then.
async fn upload(server: Running) -> io::Result<Seen> {
    const LENGTH: usize = 1 << 20;
    let mut wire = Wire::open(server.addr).await?;
    moment().await;
    server.stop();
    let head = format!("POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: {LENGTH}\r\n\r\n");
    wire.send(head).await?;
    for _ in 0..LENGTH / 16384 {
        if wire.send([b'x'; 16384]).await.is_err() {
            return Ok("**lost**");
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    Ok(wire.answer("early").await)
}

async fn hanging(server: Running) -> io::Result<Seen> {
    let mut wire = Wire::open(server.addr).await?;
    wire.send("GET /hang HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    moment().await;
    server.stop();
    let (answer, exits) = tokio::join!(wire.rest(), server.ends_late());
    let answer = String::from_utf8_lossy(&answer.unwrap_or_default()).into_owned();
    let told = answer.starts_with("HTTP/1.1 503") && answer.contains("connection: close");
    Ok(match (told, exits) {
        (true, true) => "503 at the deadline; exits",
        (false, true) => "**lost**; exits",
        (_, false) => "**no answer; does not exit**",
    })
}

async fn websocket(server: Running) -> io::Result<Seen> {
    let mut wire = Wire::open(server.addr).await?;
    let upgrade = "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    wire.send(upgrade).await?;
    wire.read_until(b"\r\n\r\n").await?;
    moment().await;
    server.stop();
    let first = wire.first_byte_within_a_second().await;
    Ok(match (first, exits(server).await) {
        // A Close frame (RFC 6455 §5.5.1).
        (Some(0x88), "exits") => "Close frame; exits after it",
        (None, "exits") => "**not told; exits without it**",
        _ => "**something else**",
    })
}
