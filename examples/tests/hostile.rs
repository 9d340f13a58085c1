//! Clients that keep to no rule, while the server is restarted and stopped: floods, halves of everything, silence. They hold a
//! drain to its deadline at the most, and cost those beside them nothing.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use support::loops::Loops;
use support::process::exit;
use support::server::Server;
use support::until;
use support::wire::Wire;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What one of them sends: once, and then again and again without a look at what comes.
struct Kind {
    opening: Vec<u8>,
    flood: Vec<u8>,
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A masked ping of 120 bytes, RFC 6455 §5.5.2.
fn ping() -> Vec<u8> {
    let mut ping = vec![0x89, 0x80 | 120, 0, 0, 0, 0];
    ping.resize(126, b'x');
    ping
}

/// A frame of HTTP/2, RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()];
    [&head.concat(), payload].concat()
}

/// A block of literal fields without indexing, RFC 7541 §6.2.2.
fn fields(path: &str) -> Vec<u8> {
    let literal = |name: &str, value: &str| {
        let length = |text: &str| u8::try_from(text.len()).unwrap();
        let (n, v) = ([0, length(name)], [length(value)]);
        [&n[..], name.as_bytes(), &v, value.as_bytes()].concat()
    };
    let all = [
        literal(":method", "GET"),
        literal(":scheme", "http"),
        literal(":path", path),
        literal(":authority", "x"),
    ];
    all.concat()
}

fn http2(settings: &[u8], then: &[u8]) -> Vec<u8> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    [&preface[..], &frame(4, 0, 0, settings), then].concat()
}

fn kinds() -> Vec<Kind> {
    let kind = |opening: Vec<u8>, flood: Vec<u8>| Kind { opening, flood };
    let text = |text: &str| text.as_bytes().to_vec();
    let request = |stream, path| frame(1, 5, stream, &fields(path));
    let reset = |stream| {
        [
            request(stream, "/slow?ms=1000"),
            frame(3, 0, stream, &[0, 0, 0, 8]),
        ]
    };
    let resets: Vec<u8> = (0..400).flat_map(|n| reset(1 + 2 * n).concat()).collect();
    let no_window = [0, 4, 0, 0, 0, 0];
    let unended = frame(1, 1, 1, &fields("/"));
    let go_away = [
        request(1, "/slow?ms=500"),
        frame(7, 0, 0, &[0; 8]),
        request(3, "/"),
    ]
    .concat();
    let half_ws = [UPGRADE.as_bytes(), b"\x81\xfe\xff\xff\0\0\0\0abc"].concat();
    vec![
        kind(text("GET / HTTP/1.1\r\nhost: x\r\nx-pad: "), text("y")),
        kind(
            text("POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"),
            text("z"),
        ),
        kind(
            text(
                "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n",
            ),
            vec![],
        ),
        kind(
            text("GET /bytes?n=30000000 HTTP/1.1\r\nhost: x\r\n\r\n"),
            vec![],
        ),
        kind(
            vec![],
            text("GET /ping HTTP/1.1\r\nhost: x\r\n\r\n").repeat(50),
        ),
        kind(text("\0\r\u{7f}nonsense\r\n\r\n"), vec![]),
        kind(text(UPGRADE), vec![]),
        kind(text(UPGRADE), ping().repeat(20)),
        kind(half_ws, vec![]),
        kind(text("PRI * HTTP"), vec![]),
        kind(http2(&[], &resets), vec![]),
        kind(http2(&[], &[]), frame(4, 0, 0, &[]).repeat(50)),
        kind(http2(&[], &[]), frame(6, 0, 0, b"12345678").repeat(50)),
        kind(http2(&no_window, &request(1, "/bytes?n=1000000")), vec![]),
        kind(http2(&[], &unended), vec![]),
        kind(http2(&[], &unended), frame(9, 0, 1, b"\0\x03x-a\x03bbb")),
        kind(http2(&[], &go_away), vec![]),
        kind(http2(&[], &frame(0, 0, 1, &[0; 100])[..50]), vec![]),
    ]
}

/// Two clients of each kind. Each comes again when it is sent away.
fn attack(server: SocketAddr) -> JoinSet<()> {
    let clients = kinds().into_iter().chain(kinds());
    let mut attack = JoinSet::new();
    for kind in clients {
        attack.spawn(async move {
            loop {
                let _ = harass(server, &kind).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    attack
}

/// Until it is sent away.
async fn harass(server: SocketAddr, kind: &Kind) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(server).await?;
    socket.write_all(&kind.opening).await?;
    if kind.flood.is_empty() {
        // One that only waits notices its end; the others read nothing, ever.
        tokio::time::sleep(Duration::from_millis(300)).await;
        while socket.read(&mut [0; 512]).await? > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        return Ok(());
    }
    loop {
        socket.write_all(&kind.flood).await?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn descriptors(pid: Pid) -> usize {
    let folder = format!("/proc/{}/fd", pid.as_raw_nonzero());
    fs::read_dir(folder).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_keeps_to_no_rule_costs_nobody_else_a_request_in_restarts_and_a_stop() {
    let mut server = Server::start(&["--drain", "1s"]).await;
    let (kept, fresh) = (Loops::keep_alive(server.addr), Loops::fresh(server.addr));
    let mut attack = attack(server.addr);
    for generation in 1..=3 {
        let old = server.pid;
        fresh.answer(100).await;
        kept.answer(100).await;
        server.signal(Signal::HUP);
        server.ready(generation).await;
        // Some are held at the deadline, whatever the others do.
        assert_eq!(exit(old).await, 1, "something was cut");
    }
    kept.stop().await.assert_all_answered();
    fresh.stop().await.assert_all_answered();
    attack.shutdown().await;
    let quiet = Server::start(&[]).await;
    // Looked at each time: a process that has just begun to serve may not have all of its own yet.
    until("nothing is left of them", async || {
        descriptors(server.pid) <= descriptors(quiet.pid) + 1
    })
    .await;

    let mut attack = self::attack(server.addr);
    server.in_flight_at_least(5).await;
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 1, "something was cut");
    attack.shutdown().await;
    assert!(!server.process.log().contains("panicked"));
}

/// The answers to its pings are for it to take.
#[tokio::test]
async fn a_websocket_that_pings_and_never_reads_costs_little_memory() {
    const PINGS: usize = 64 << 20;
    let server = Server::start(&[]).await;
    let mut client = Wire::open(server.addr).await;
    client.send(UPGRADE).await;
    client.read_until("\r\n\r\n").await;
    let before = resident(server.pid);
    let pings = ping().repeat(1000);
    for _ in 0..PINGS / pings.len() {
        if client.0.write_all(&pings).await.is_err() {
            break;
        }
    }
    let grown = resident(server.pid).saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} kB more");
}

/// In kB.
fn resident(pid: Pid) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}
