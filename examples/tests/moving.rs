//! Restarts under keep-alive connections: idle ones move to the next process, and their clients see nothing of it.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use graceful_examples::load::{Call, Closes, Http1, Outcome};
use graceful_server::Timeouts;
use rustix::process::{Resource, Signal, getrlimit};
use support::process::{Process, scratch, signal};
use support::server::{ANYWHERE, BINARY, Server};
use support::wire::Wire;
use support::{BOUND, until};
use tokio::task::JoinSet;
use tokio::time::sleep;

const ENDS_HERE: &str = "generation=0\n";
const ENDS_THERE: &str = "generation=1\n";

/// Restarts, and waits until the old process has nothing left.
async fn restart(server: &mut Server, generation: u32) {
    let old = server.pid;
    server.signal(Signal::HUP);
    server.ready(generation).await;
    assert_eq!(support::process::exit(old).await, 0);
}

async fn answer(wire: &mut Wire, path: &str, end: &str) -> String {
    wire.get(path).await;
    wire.read_until(end).await
}

#[tokio::test]
async fn an_idle_connection_one_at_rest_and_a_silent_one_are_served_by_the_successor_on_the_same_socket()
 {
    let mut server = Server::start(&[]).await;
    let (mut kept, mut silent) = (Wire::open(server.addr).await, Wire::open(server.addr).await);
    let mut rests = Wire::open(server.addr).await;
    answer(&mut rests, "/", ENDS_HERE).await;
    // Twice the time in which it comes to rest.
    sleep(2 * Timeouts::default().park_after).await;
    answer(&mut kept, "/", ENDS_HERE).await;
    restart(&mut server, 1).await;
    answer(&mut kept, "/", ENDS_THERE).await;
    answer(&mut silent, "/", ENDS_THERE).await;
    answer(&mut rests, "/", ENDS_THERE).await;
    // Its requests are counted on, and it is one of the successor's connections.
    let connections = support::get(server.admin, "/connections").await;
    let mine = kept.0.local_addr().unwrap().to_string();
    let all = support::json(&connections);
    let moved = |one: &&serde_json::Value| one["peer"] == mine;
    let moved = all.as_array().unwrap().iter().find(moved).unwrap();
    assert_eq!(
        (&moved["requests"], &moved["state"]),
        (&2.into(), &"idle".into())
    );
}

#[tokio::test]
async fn a_connection_on_a_unix_socket_moves_as_well() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let folder = scratch();
    let path = folder.join("socket");
    let listen = format!("unix:{}", path.display());
    let mut process = Process::start(BINARY.as_ref(), &["--listen", &listen]);
    assert_eq!(process.line().await, format!("listening {listen}"));
    process.line().await;
    let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
    signal(process.first, Signal::HUP);
    assert_eq!(process.exit().await, 0);
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with(ENDS_THERE), "{text}");
    let _ = fs::remove_dir_all(folder);
}

#[tokio::test]
async fn a_busy_connection_is_answered_first_and_not_told_to_close() {
    let mut server = Server::start(&[]).await;
    let mut busy = Wire::open(server.addr).await;
    busy.get("/slow?ms=700").await;
    server.in_flight(1).await;
    let old = server.pid;
    server.signal(Signal::HUP);
    server.ready(1).await;
    let head = busy.read_until("\r\n\r\nok\n").await;
    assert!(head.contains("x-generation: 0"), "{head}");
    assert!(!head.to_lowercase().contains("connection: close"), "{head}");
    assert_eq!(support::process::exit(old).await, 0);
    answer(&mut busy, "/", ENDS_THERE).await;
}

/// Its handler does not read it, so hyper gives up the connection, in the poll after the answer: there is nothing that could move.
#[tokio::test]
async fn a_body_that_nobody_reads_does_not_travel_and_is_no_request_there() {
    let mut server = Server::start(&[]).await;
    let mut unread = Wire::open(server.addr).await;
    // Half a head stays where it is, so that the answer is the old process's.
    unread.send("POST /early HTTP/1.1\r\nho").await;
    until("the half head is noted", async || {
        server.status().await["connections"]["active"] == 1
    })
    .await;
    let old = server.pid;
    server.signal(Signal::HUP);
    server.ready(1).await;
    unread.send("st: x\r\ncontent-length: 46\r\n\r\n").await;
    unread.read_until("\r\n\r\nok\n").await;
    // Time enough for one that looks idle to go.
    sleep(Duration::from_millis(300)).await;
    assert!(ends_or_answers(unread).await, "what came as its body");
    assert_eq!(support::process::exit(old).await, 0);
    let log = server.process.log();
    assert_eq!(log.matches("connection moved").count(), 0, "{log}");
}

/// hyper would give its stream to whoever took up the offer.
#[tokio::test]
async fn a_connection_on_which_an_upgrade_was_offered_is_told_to_close() {
    let mut server = Server::start(&[]).await;
    let mut offers = Wire::open(server.addr).await;
    offers
        .send("GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
        .await;
    offers.read_until(ENDS_HERE).await;
    server.signal(Signal::HUP);
    server.ready(1).await;
    let closes = |text: String| text.to_lowercase().contains("connection: close");
    // The old process begins to drain a little after the new one is there.
    while !closes(answer(&mut offers, "/", ENDS_HERE).await) {
        sleep(Duration::from_millis(10)).await;
    }
}

/// It came in one segment with the request before, so that the old server has read it.
#[tokio::test]
async fn what_was_read_of_a_next_request_travels_with_the_connection() {
    let mut server = Server::start(&[]).await;
    let mut wire = Wire::open(server.addr).await;
    wire.send("GET / HTTP/1.1\r\nhost: x\r\n\r\nPOST /echo HTTP/1.1\r\nho")
        .await;
    wire.read_until(ENDS_HERE).await;
    restart(&mut server, 1).await;
    wire.send("st: x\r\ncontent-length: 4\r\n\r\nwhol").await;
    let whole = wire.read_until("\r\n\r\nwhol").await;
    assert!(
        whole.contains("200 OK") && whole.contains("x-generation: 1"),
        "{whole}"
    );
    answer(&mut wire, "/", ENDS_THERE).await;
}

#[tokio::test]
async fn a_connection_with_empty_lines_after_its_request_moves_parked_or_not() {
    let mut server = Server::start(&[]).await;
    let mut clients = Vec::new();
    for lines in ["\r\n", "\r", "\n\r\n"] {
        for parked in [true, false] {
            let mut wire = Wire::open(server.addr).await;
            answer(&mut wire, "/", ENDS_HERE).await;
            wire.send(lines).await;
            clients.push((wire, lines, parked));
        }
    }
    sleep(2 * Timeouts::default().park_after).await;
    for (wire, lines, parked) in &mut clients {
        if !*parked {
            wire.send("\n").await;
            answer(wire, "/", ENDS_HERE).await;
            wire.send(lines).await;
        }
    }
    restart(&mut server, 1).await;
    for (wire, ..) in &mut clients {
        // The other half of an empty line, or another empty line.
        wire.send("\n").await;
        answer(wire, "/", ENDS_THERE).await;
    }
}

#[tokio::test]
async fn half_a_head_is_waited_for_where_it_began() {
    let mut server = Server::start(&[]).await;
    let mut wire = Wire::open(server.addr).await;
    answer(&mut wire, "/", ENDS_HERE).await;
    wire.send("GET / HTT").await;
    until("the half head is noted", async || {
        server.status().await["connections"]["active"] == 1
    })
    .await;
    let old = server.pid;
    server.signal(Signal::HUP);
    server.ready(1).await;
    wire.send("P/1.1\r\nhost: x\r\n\r\n").await;
    let head = wire.read_until(ENDS_HERE).await;
    assert!(!head.to_lowercase().contains("connection: close"), "{head}");
    assert_eq!(support::process::exit(old).await, 0);
    answer(&mut wire, "/", ENDS_THERE).await;
}

/// The successor does not listen on that socket any more.
#[tokio::test]
async fn a_connection_that_the_successor_cannot_take_is_closed_politely() {
    // Under its own name, so that the successor is started by what stands there then.
    let program = Script::new(&format!("exec -a \"$0\" {BINARY} \"$@\""));
    let (mut server, addr) = start_on_two(&program.path).await;
    let mut dropped = Wire::open(addr).await;
    let mut kept = Wire::open(addr).await;
    answer(&mut dropped, "/", ENDS_HERE).await;
    answer(&mut kept, "/", ENDS_HERE).await;
    program.put(&format!("exec {BINARY} \"${{@:1:$#-2}}\""));
    server.signal(Signal::HUP);
    server.ready(1).await;
    dropped.get("/").await;
    let last = dropped.rest().await.in_order();
    assert!(last.ends_with(ENDS_HERE), "{last}");
    assert_eq!(kept.rest().await.in_order(), "");
    // As long as the first process is there, the end of the other is for it to know, and not for us.
    assert_eq!(server.process.exit().await, 0);
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
}

/// What a successor is started by, under a path where something else can take its place.
struct Script {
    folder: PathBuf,
    path: PathBuf,
}

impl Script {
    fn new(text: &str) -> Self {
        let folder = scratch();
        let path = folder.join("server");
        let script = Self { folder, path };
        script.put(text);
        script
    }

    fn put(&self, text: &str) {
        let next = self.folder.join("next");
        fs::write(&next, format!("#!/bin/bash\n{text}\n")).unwrap();
        fs::set_permissions(&next, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(next, &self.path).unwrap();
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// With a second listener, which has a name of its own.
async fn start_on_two(program: &Path) -> (Server, SocketAddr) {
    let flags = "--listen 127.0.0.1:0 --admin 127.0.0.1:0 --listen 127.0.0.2:0";
    let flags: Vec<_> = flags.split(' ').collect();
    let mut process = Process::start(program, &flags);
    let mut listening = async || {
        let line = process.line().await;
        line.strip_prefix("listening ").unwrap().parse().unwrap()
    };
    let first: SocketAddr = listening().await;
    let (second, admin) = (listening().await, listening().await);
    let pid = process.first;
    let mut server = Server {
        process,
        addr: first,
        admin,
        pid,
    };
    server.ready(0).await;
    (server, second)
}

/// Connections that are idle but for a POST now and then, each at its own moments.
struct Sparse {
    tasks: JoinSet<Outcomes>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Outcomes {
    answered: usize,
    lost: Vec<String>,
    closes: Vec<Closes>,
}

impl Sparse {
    async fn start(server: SocketAddr, connections: usize) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut tasks = JoinSet::new();
        for n in 0..connections {
            let mut client = Http1::new(server, BOUND);
            client.connect().await.unwrap();
            tasks.spawn(posts(n, client, Arc::clone(&stop), Arc::clone(&answered)));
        }
        Self {
            tasks,
            stop,
            answered,
        }
    }

    /// Waits until `n` more POSTs are answered.
    async fn answer(&self, n: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + n;
        until("more answers", async || {
            self.answered.load(Ordering::Relaxed) >= goal
        })
        .await;
    }

    async fn stop(mut self) -> Outcomes {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcomes::default();
        while let Some(one) = self.tasks.join_next().await {
            let one = one.unwrap();
            all.answered += one.answered;
            all.lost.extend(one.lost);
            all.closes.extend(one.closes);
        }
        all
    }
}

async fn posts(
    n: usize,
    mut client: Http1,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> Outcomes {
    let mut outcomes = Outcomes::default();
    // A simple generator of its own for each, so that moments differ and a run can be repeated.
    let mut dice = n as u64;
    loop {
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let pause = Duration::from_millis(dice >> 33 & 1023);
        client.idle_until(Instant::now() + pause).await;
        if stop.load(Ordering::Relaxed) {
            outcomes.closes.push(client.closes());
            return outcomes;
        }
        let sample = client.send(&Call::count(1 + n)).await;
        match sample.outcome {
            Outcome::Answered => {
                outcomes.answered += 1;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            outcome => outcomes
                .lost
                .push(format!("{}: {}", outcome.label(), sample.detail)),
        }
    }
}

/// Requests that all generations together have served, by their own account.
fn served(log: &str) -> usize {
    let count = |line: &str| -> Option<usize> {
        line.split("; seen ")
            .nth(1)?
            .split(' ')
            .next()?
            .parse()
            .ok()
    };
    log.lines().filter_map(count).sum::<usize>()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_live_through_five_restarts_and_every_post_is_served_once() {
    // Both ends of each are here or in one of two processes that have the same limit.
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = usize::try_from(limit.saturating_sub(200).min(1000)).unwrap();
    let mut server = Server::start(&[]).await;
    let clients = Sparse::start(server.addr, connections).await;
    for generation in 1..=5 {
        clients.answer(connections / 2).await;
        restart(&mut server, generation).await;
    }
    clients.answer(connections / 2).await;
    let outcomes = clients.stop().await;
    assert_eq!(outcomes.lost, [""; 0]);
    let closed = outcomes
        .closes
        .iter()
        .map(|one| one.announced + one.unannounced)
        .sum::<u64>();
    assert_eq!(closed, 0, "connections were closed");
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
    assert_eq!(
        served(&server.process.log()),
        outcomes.answered,
        "served by all generations"
    );
}

/// The old worker and the new one have the supervisor for a predecessor, and yet nothing is closed between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_move_from_worker_to_worker_of_a_supervisor() {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = usize::try_from(limit.saturating_sub(200).min(300)).unwrap();
    let args = [&["--supervise"], &ANYWHERE[..]].concat();
    let mut server = Server::run_others(BINARY.as_ref(), &args, 0).await;
    let supervisor = server.process.first;
    let clients = Sparse::start(server.addr, connections).await;
    let mut silent = Wire::open(server.addr).await;
    for generation in 1..=6_usize {
        clients.answer(connections / 2).await;
        if generation == 4 {
            // The supervisor itself becomes another program, and knows of its workers what it knew.
            signal(supervisor, Signal::USR2);
            server.process.logged(1, "was executed anew").await;
        }
        signal(supervisor, Signal::HUP);
        server.ready(generation.try_into().unwrap()).await;
        server.process.logged(generation, "a worker ended").await;
    }
    clients.answer(connections / 2).await;
    answer(&mut silent, "/", "generation=6\n").await;
    let outcomes = clients.stop().await;
    assert_eq!(outcomes.lost, [""; 0]);
    let closed = |one: &Closes| one.announced + one.unannounced;
    let closed = outcomes.closes.iter().map(closed).sum::<u64>();
    assert_eq!(closed, 0, "connections were closed");
    signal(supervisor, Signal::TERM);
    assert_eq!(server.process.exit().await, 0);
    let all = served(&server.process.log());
    assert_eq!(all, outcomes.answered + 1, "served by all generations");
}

/// The successor dies with what it has taken, and with nothing else: whoever was not on it yet is served on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_successor_dies_among_moves_only_what_it_had_taken_is_closed() {
    const CONNECTIONS: usize = 200;
    let talkative = format!("RUST_LOG=info,graceful_server=debug exec {BINARY} \"$@\"");
    let program = Script::new(&talkative);
    let mut server = Server::start_program(&program.path, &[]).await;
    let mut wires = Vec::new();
    for n in 0..CONNECTIONS {
        let mut wire = Wire::open(server.addr).await;
        // They become idle, and move, one after the other.
        wire.get(&format!("/slow?ms={}", 500 + 5 * n)).await;
        wires.push(wire);
    }
    server.in_flight(CONNECTIONS as u64).await;
    server.signal(Signal::HUP);
    let successor = server.ready(1).await;
    // Some have moved.
    until("a connection that has moved", async || {
        wires[CONNECTIONS / 4]
            .stirs_within(Duration::from_millis(1))
            .await
    })
    .await;
    signal(successor, Signal::KILL);
    server.ready(0).await;
    let mut closed = 0;
    for mut wire in wires {
        let head = wire.read_until("\r\n\r\nok\n").await;
        assert!(!head.to_lowercase().contains("connection: close"), "{head}");
        closed += usize::from(ends_or_answers(wire).await);
    }
    let moved = server.process.log().matches("connection moved").count();
    assert_eq!(closed, moved, "closed, and moved");
    assert!(0 < moved && moved < CONNECTIONS, "{moved} moved");
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
}

/// Whether the connection is at its end. If not, its next request is answered by the first process.
async fn ends_or_answers(mut wire: Wire) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut text = String::new();
    let sent = wire.0.write_all(request).await;
    let read = wire.0.read_to_string(&mut text).await;
    if sent.is_err() || read.is_err() || text.is_empty() {
        return true;
    }
    assert!(text.ends_with(ENDS_HERE), "{text}");
    false
}
