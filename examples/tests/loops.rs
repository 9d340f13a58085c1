//! The loads that other servers lose requests under when they are stopped: 24 loops of each kind, fifteen stops.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::net::SocketAddr;

use rustix::process::{Pid, Signal};
use support::loops::{LOOPS, Loops, Tally};
use support::process::{Process, signal};
use support::server::{ANYWHERE, BINARY, Server};

const STOPS: usize = 15;

/// Starts a server, puts a load on it, stops it in the middle of it.
async fn stopped_under(load: fn(SocketAddr) -> Loops) -> Tally {
    let mut all = Tally::default();
    for _ in 0..STOPS {
        let server = Server::start(&[]).await;
        all.add(stopped(server.addr, server.pid, load).await);
        assert_eq!(server.exit().await, 0);
    }
    all
}

/// Puts a load on a server, and stops the process in the middle of it.
async fn stopped(addr: SocketAddr, pid: Pid, load: fn(SocketAddr) -> Loops) -> Tally {
    let loops = load(addr);
    loops.answer(50 * LOOPS as u64).await;
    signal(pid, Signal::TERM);
    let tally = loops.ended().await;
    assert_eq!(
        tally.refused, LOOPS as u64,
        "each loop ends when nobody listens any more"
    );
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_keep_alive_connections_lose_no_answer_through_fifteen_stops() {
    stopped_under(Loops::keep_alive).await.assert_nothing_lost();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fresh_connections_are_answered_or_refused_through_fifteen_stops() {
    stopped_under(Loops::fresh).await.assert_nothing_lost();
}

/// The listener is another process's child by then, which is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fresh_connections_are_answered_or_refused_when_a_server_is_stopped_that_was_restarted() {
    let mut all = Tally::default();
    for _ in 0..STOPS {
        let mut server = Server::start(&[]).await;
        server.signal(Signal::HUP);
        server.ready(1).await;
        assert_eq!(server.process.exit().await, 0);
        all.add(stopped(server.addr, server.pid, Loops::fresh).await);
        assert_eq!(server.exit().await, 0);
    }
    all.assert_nothing_lost();
}

/// Before and after a restart of the worker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fresh_connections_are_answered_or_refused_when_a_supervisor_is_stopped() {
    let mut all = Tally::default();
    for stop in 0..STOPS {
        let args = [&["--supervise"], &ANYWHERE[..]].concat();
        let mut server = Server::run_others(BINARY.as_ref(), &args, 0).await;
        if stop % 2 == 1 {
            signal(server.process.first, Signal::HUP);
            server.ready(1).await;
            server.process.logged(1, "a worker ended").await;
        }
        let supervisor = server.process.first;
        all.add(stopped(server.addr, supervisor, Loops::fresh).await);
        assert_eq!(server.process.exit().await, 0);
    }
    all.assert_nothing_lost();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_on_http2_connections_lose_no_answer_through_fifteen_stops() {
    stopped_under(Loops::http2).await.assert_nothing_lost();
}

/// The same with the accept loop of the example, written by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_written_loop_with_the_three_pieces_loses_nothing_either() {
    for _ in 0..STOPS {
        let program = env!("CARGO_BIN_EXE_hyper-loop");
        let mut process = Process::start(program.as_ref(), &["127.0.0.1:0"]);
        let line = process.line().await;
        let addr = line.split_once("listening ").unwrap().1.parse().unwrap();
        let hello = |_| {
            let body = graceful_examples::load::Expect::body("hello\n");
            graceful_examples::load::Call::get("/".to_owned(), body)
        };
        let loops = Loops::run(addr, hello, |_| true);
        loops.answer(50 * LOOPS as u64).await;
        signal(process.first, Signal::TERM);
        loops.ended().await.assert_nothing_lost();
        assert_eq!(process.exit().await, 0);
    }
}
