//! Fifty restarts in a row under a mixed load: nothing is lost, and nothing grows.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::fs;
use std::time::Duration;

use graceful_examples::load::Call;
use rustix::process::{Pid, Signal};
use support::loops::Loops;
use support::process::exit;
use support::server::Server;
use support::{get, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_restarts_under_a_mixed_load_lose_nothing_and_nothing_grows() {
    let mut server = Server::start(&[]).await;
    restarts(&mut server, 1..=5).await;
    let early = Size::at_rest(&server).await;
    restarts(&mut server, 6..=50).await;
    let late = Size::at_rest(&server).await;

    assert_eq!(get(server.addr, "/").await.generation, Some(50));
    assert_eq!(late.descriptors, early.descriptors);
    assert_eq!(late.arguments, early.arguments);
    // The number of the channel's inode in it may get longer.
    assert!(
        late.environment.abs_diff(early.environment) < 16,
        "{early:?} {late:?}"
    );
    assert!(late.resident < 2 * early.resident, "{early:?} {late:?}");
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
}

/// Under load from before the first to after the last; every process of an earlier generation ends with nothing cut.
async fn restarts(server: &mut Server, generations: std::ops::RangeInclusive<u32>) {
    let addr = server.addr;
    let slow = Call::slow(Duration::from_millis(50));
    let loads = [
        Loops::keep_alive(addr),
        Loops::paced(addr, Duration::from_millis(20)),
        Loops::fresh(addr),
        Loops::http2(addr),
        Loops::run(addr, |_| slow.clone(), |_| true),
    ];
    for generation in generations {
        for load in &loads {
            load.answer(24).await;
        }
        let old = server.pid;
        server.signal(Signal::HUP);
        server.ready(generation).await;
        assert_eq!(exit(old).await, 0);
    }
    for load in loads {
        load.stop().await.assert_all_answered();
    }
}

/// What a process takes, without what its clients make it take.
#[derive(Debug)]
struct Size {
    descriptors: usize,
    environment: usize,
    arguments: Vec<u8>,
    /// In pages.
    resident: usize,
}

impl Size {
    /// Once every connection of the load is gone, and no descriptor comes or goes any more: those of the questions below
    /// do for a moment.
    async fn at_rest(server: &Server) -> Self {
        until("no connection", async || {
            let connections = server.status().await["connections"].clone();
            let counts = connections.as_object().unwrap().values();
            counts.filter_map(serde_json::Value::as_u64).sum::<u64>() == 0
        })
        .await;
        let (mut descriptors, mut looks) = (0, 0);
        until("descriptors at rest", async || {
            let now = open(server.pid);
            looks = if now == descriptors { looks + 1 } else { 0 };
            descriptors = now;
            looks == LOOKS
        })
        .await;
        let read = |file| fs::read(of(server.pid, file)).unwrap();
        let pages = String::from_utf8(read("statm")).unwrap();
        Self {
            descriptors,
            environment: read("environ").len(),
            arguments: read("cmdline"),
            resident: pages.split(' ').nth(1).unwrap().parse().unwrap(),
        }
    }
}

/// As many as take a second or more.
const LOOKS: u32 = 100;

fn open(pid: Pid) -> usize {
    fs::read_dir(of(pid, "fd")).unwrap().count()
}

fn of(pid: Pid, file: &str) -> String {
    format!("/proc/{}/{file}", pid.as_raw_nonzero())
}
