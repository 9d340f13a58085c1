//! Restarts: the next generation serves on the same port, and whatever fails on the way, somebody serves.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use support::deployed::Deployed;
use support::loops::Loops;
use support::process::{exit, signal};
use support::server::{BINARY, Server};
use support::supervised::gone;
use support::wire::Wire;
use support::{get, post, text, until};
use tokio::time::sleep;

/// A server that has handed over while it had a request of so many milliseconds, and its client.
async fn handed_over(ms: u32) -> (Server, Wire) {
    let mut server = Server::start(&[]).await;
    let mut slow = Wire::open(server.addr).await;
    slow.get(&format!("/slow?ms={ms}")).await;
    server.in_flight(1).await;
    server.signal(Signal::HUP);
    server.ready(1).await;
    (server, slow)
}

#[tokio::test]
async fn a_successor_serves_on_the_same_port_and_the_old_one_finishes_what_it_has() {
    let (server, mut slow) = handed_over(700).await;
    let first = server.process.first;
    let successor = server.pid;
    assert_ne!(successor, first);
    let here = text(&get(server.addr, "/").await).to_owned();
    assert_eq!(
        here,
        format!("pid={} generation=1\n", successor.as_raw_nonzero())
    );
    assert_eq!(server.status().await["generation"], 1);

    let answer = slow.read_until("\r\n\r\nok\n").await;
    assert!(answer.contains("x-generation: 0"), "{answer}");
    assert_eq!(server.process.exit().await, 0);
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_restarts_under_load_refuse_nobody_and_lose_nothing() {
    let mut server = Server::start(&[]).await;
    let (kept, fresh) = (Loops::keep_alive(server.addr), Loops::fresh(server.addr));
    for generation in 1..=5 {
        let old = server.pid;
        fresh.answer(200).await;
        server.signal(Signal::HUP);
        server.ready(generation).await;
        kept.answer(200).await;
        assert_eq!(exit(old).await, 0);
    }
    kept.stop().await.assert_all_answered();
    fresh.stop().await.assert_all_answered();
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_fails_costs_nothing_and_the_next_one_works() {
    let deployed = Deployed::new();
    let mut server = Server::start_program(&deployed.path, &["--ready-timeout", "500ms"]).await;
    let first = server.pid;
    let loops = Loops::fresh(server.addr);
    let failures = [
        ("exit 7", "7"),
        ("kill -9 $$", "9"),
        ("exec sleep 300", "ready"),
        ("exec /nowhere/program", "127"),
    ];
    for (script, why) in failures {
        deployed.put_script(script);
        let refused = post(server.admin, "/restart").await;
        assert_eq!(refused.status, 409, "{script}");
        assert!(text(&refused).contains(why), "{script}: {}", text(&refused));
        loops.answer(200).await;
    }
    deployed.put_script("exit 7");
    server.signal(Signal::HUP);
    server
        .process
        .logged(failures.len() + 1, "restart failed")
        .await;
    assert_eq!(server.status().await["pid"], first.as_raw_nonzero().get());
    assert_eq!(server.status().await["phase"], "serving");

    fs::remove_file(&deployed.path).unwrap();
    assert_eq!(post(server.admin, "/restart").await.status, 409);

    deployed.put(Path::new(BINARY));
    server.signal(Signal::HUP);
    server.ready(1).await;
    loops.answer(200).await;
    loops.stop().await.assert_all_answered();
    assert_eq!(server.process.exit().await, 0);
}

/// Whoever reads it finds the number of a process that serves, whatever becomes of a restart.
#[tokio::test]
async fn the_pid_file_is_the_serving_generations_after_a_roll_back_and_a_reclaim_too() {
    let deployed = Deployed::new();
    let path = deployed.folder.join("pid");
    let flags = ["--pid-file", path.to_str().unwrap()];
    let mut server = Server::start_program(&deployed.path, &flags).await;
    let first = server.pid;
    let read = || fs::read_to_string(&path).unwrap();
    let line = |pid: Pid| format!("{}\n", pid.as_raw_nonzero());
    let reader = Reader::start(&path);

    deployed.put_script("exit 7");
    assert_eq!(post(server.admin, "/restart").await.status, 409);
    assert_eq!(read(), line(first), "rolled back");

    deployed.put(Path::new(BINARY));
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=60000").await;
    server.in_flight(1).await;
    for _ in 0..3 {
        server.signal(Signal::HUP);
        let successor = server.ready(1).await;
        assert_eq!(read(), line(successor));
        signal(successor, Signal::KILL);
        assert_eq!(server.ready(0).await, first);
        assert_eq!(read(), line(first), "reclaimed");
    }
    drop(slow);

    server.signal(Signal::HUP);
    let last = server.ready(1).await;
    assert_eq!(server.process.exit().await, 0);
    assert_eq!(read(), line(last), "the old one takes it with it");
    reader.stop();
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
    assert!(!path.exists());
}

/// Reads a pid file all the time, and finds a number in it each time.
struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Reader {
    fn start(path: &Path) -> Self {
        let (stop, path) = (Arc::new(AtomicBool::new(false)), path.to_owned());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut reads = 0;
            while !stopped.load(Ordering::Relaxed) {
                let text = fs::read_to_string(&path).unwrap();
                let number = text.trim_end().parse::<u32>();
                number.unwrap_or_else(|error| panic!("{error}: {text:?}"));
                reads += 1;
                std::thread::sleep(Duration::from_micros(200));
            }
            reads
        });
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        assert!(self.thread.join().unwrap() > 0);
    }
}

/// Law 10. What the killed process had accepted is gone with it; whoever comes after it is served.
#[tokio::test]
async fn when_the_successor_is_killed_the_old_process_takes_over_again() {
    let mut server = Server::start(&[]).await;
    let first = server.pid;
    let mut slow = Wire::open(server.addr).await;
    slow.get("/slow?ms=3000").await;
    server.in_flight(1).await;
    server.signal(Signal::HUP);
    signal(server.ready(1).await, Signal::KILL);

    assert_eq!(server.ready(0).await, first);
    let here = get(server.addr, "/").await;
    assert_eq!(here.generation, Some(0));
    until("serving", async || {
        server.status().await["phase"] == "serving"
    })
    .await;
    assert!(slow.read_until("ok\n").await.contains("200 OK"));

    server.signal(Signal::HUP);
    server.ready(1).await;
    assert_eq!(get(server.addr, "/").await.generation, Some(1));
    assert_eq!(server.process.exit().await, 0);
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
}

#[tokio::test]
async fn one_successor_at_a_time() {
    let server = Server::start(&["--start-delay", "1s"]).await;
    let restart = || post(server.admin, "/restart");
    let (one, other) = tokio::join!(restart(), restart());
    let mut both = [one, other];
    both.sort_by_key(|answer| answer.status);
    assert_eq!(
        both.each_ref().map(|answer| answer.status.as_u16()),
        [202, 409]
    );
    assert!(text(&both[1]).contains("successor"), "{}", text(&both[1]));
    assert_eq!(get(server.addr, "/").await.generation, Some(1));
}

/// Whoever sends it has deployed something that the successor under way may not have read, and hears of no refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_during_a_restart_is_done_after_it() {
    let mut server = Server::start(&["--start-delay", "1s"]).await;
    let loops = Loops::fresh(server.addr);
    let first = server.pid;
    server.signal(Signal::HUP);
    until("a successor", async || has_child(first)).await;
    signal(first, Signal::HUP);
    signal(first, Signal::HUP);
    server.ready(1).await;
    server.ready(2).await;
    loops.answer(200).await;
    loops.stop().await.assert_all_answered();
    assert_eq!(get(server.addr, "/").await.generation, Some(2));
    assert_eq!(server.process.exit().await, 0);
    // There is no other that would go on.
    server.signal(Signal::TERM);
    nobody_listens(server.addr).await;
}

#[tokio::test]
async fn a_signal_that_its_successor_died_of_is_done_by_the_process_that_serves_again() {
    let (mut server, mut slow) = handed_over(3000).await;
    let first = server.process.first;
    let successor = server.pid;
    server.process.logged(1, "handed over to a successor").await;
    // It is passed on, and never read.
    signal(successor, Signal::STOP);
    signal(first, Signal::HUP);
    sleep(Duration::from_millis(100)).await;
    signal(successor, Signal::KILL);
    server.serves_again(first).await;
    assert_ne!(server.ready(1).await, successor);
    assert!(slow.read_until("ok\n").await.contains("x-generation: 0"));
    assert_eq!(server.process.exit().await, 0);
}

/// It knows its successor only, and that knows no more than who came after it.
#[tokio::test]
async fn a_signal_to_a_process_whose_successor_is_gone_says_that_it_is_in_vain() {
    let (mut server, mut slow) = handed_over(3000).await;
    let first = server.process.first;
    let second = server.pid;
    server.signal(Signal::HUP);
    server.ready(2).await;
    gone(second).await;
    signal(first, Signal::HUP);
    server.process.logged(1, "ask who serves").await;
    assert!(slow.read_until("ok\n").await.contains("200 OK"));
    assert_eq!(get(server.addr, "/").await.generation, Some(2));
}

#[tokio::test]
async fn a_stop_rolls_a_successor_back_that_is_not_ready() {
    let server = Server::start(&["--start-delay", "2s"]).await;
    server.signal(Signal::HUP);
    until("a successor", async || has_child(server.pid)).await;
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
    nobody_listens(server.addr).await;
}

/// Also while the old process still accepts: the service is to end, and not to go on in its next generation.
#[tokio::test]
async fn a_stop_in_lame_duck_rolls_a_successor_back_that_is_not_ready() {
    let server = Server::start(&["--lame-duck", "5s", "--start-delay", "1s"]).await;
    server.signal(Signal::HUP);
    until("a successor", async || has_child(server.pid)).await;
    server.signal(Signal::TERM);
    server.process.logged(1, "stopping, not restarting").await;
    assert_eq!(get(server.addr, "/").await.generation, Some(0));
    assert_eq!(server.exit().await, 0);
    nobody_listens(server.addr).await;
}

async fn nobody_listens(addr: SocketAddr) {
    until("nobody listens", async || {
        tokio::net::TcpStream::connect(addr).await.is_err()
    })
    .await;
}

/// Whichever of its threads started it.
fn has_child(parent: Pid) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", parent.as_raw_nonzero())).unwrap();
    tasks.flatten().any(|task| {
        let children = fs::read_to_string(task.path().join("children"));
        children.is_ok_and(|children| !children.is_empty())
    })
}

/// A successor that ends in order has not died: it has handed over itself.
#[tokio::test]
async fn two_restarts_in_quick_succession_leave_one_generation_serving() {
    let (mut server, slow) = handed_over(2000).await;
    server.signal(Signal::HUP);
    server.ready(2).await;
    assert!(slow.rest().await.in_order().ends_with("ok\n"));
    assert_eq!(server.process.exit().await, 0);
    for _ in 0..20 {
        assert_eq!(get(server.addr, "/").await.generation, Some(2));
    }
}

/// Nor has one that was stopped: the service is to end, and not to come back in its older generation.
#[tokio::test]
async fn a_stop_of_the_successor_stops_the_service() {
    let (server, slow) = handed_over(2000).await;
    server.signal(Signal::TERM);
    assert!(slow.rest().await.in_order().ends_with("ok\n"));
    assert_eq!(server.process.exit().await, 0);
}

#[tokio::test]
async fn a_restart_asked_of_a_process_that_drains_is_done_by_its_successor() {
    let (mut server, mut slow) = handed_over(3000).await;
    let first = server.process.first;
    signal(first, Signal::HUP);
    server.ready(2).await;
    assert!(slow.read_until("ok\n").await.contains("x-generation: 0"));
    assert_eq!(server.process.exit().await, 0);
}

/// Each has a request that outlasts the test, and time for it.
#[tokio::test]
async fn of_four_generations_that_drain_the_oldest_is_cut() {
    let mut server = Server::start(&["--drain", "300s"]).await;
    let (mut pids, mut slow) = (vec![server.pid], Vec::new());
    for generation in 1..=4 {
        let mut wire = Wire::open(server.addr).await;
        wire.get("/slow?ms=250000").await;
        server.in_flight(1).await;
        slow.push(wire);
        server.signal(Signal::HUP);
        pids.push(server.ready(generation).await);
    }
    assert_eq!(server.process.exit().await, 1, "it had to cut");
    assert!(slow.remove(0).rest().await.in_order().contains(" 503 "));
    for (pid, wire) in pids[1..].iter().zip(&slow) {
        assert!(
            !wire.stirs_within(Duration::from_millis(50)).await,
            "{pid:?} was cut"
        );
    }
}
