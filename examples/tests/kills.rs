//! SIGKILL at random moments of a restart, of the old process or of the new one, under a load of fresh connections. That of a
//! supervisor and of its workers is in `supervisor_kills.rs`.
//!
//! `KILLS=200 cargo test -p graceful-examples --test kills -- --nocapture` prints the table of `docs/restart-faults.md`. The
//! seed is printed first; `KILLS_SEED` repeats its choices.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::{Pid, Signal};
use support::kills::{Kill, START_DELAY, children, choices, delay, held, judge, kill};
use support::process::exit;
use support::record::Record;
use support::server::Server;
use support::{get, until};

const ROWS: [&str; 4] = [
    "old process, before COMMIT",
    "old process, after COMMIT",
    "new process, before COMMIT",
    "new process, after COMMIT",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Old,
    New,
}

/// What is drawn for one kill.
#[derive(Clone, Copy, Debug)]
struct Moment {
    victim: Victim,
    /// From when the successor serves; else from when there is one, which may not have begun its program yet.
    after_commit: bool,
    delay: Duration,
}

impl Moment {
    fn draw(rng: &mut Rng) -> Self {
        let victim = if rng.bool() { Victim::Old } else { Victim::New };
        Self {
            victim,
            after_commit: rng.bool(),
            delay: delay(rng),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_takes_nothing_along_but_what_it_had_in_flight() {
    let (kills, mut rng) = choices();
    let mut server = Server::start(&["--start-delay", START_DELAY]).await;
    let record = Record::of_fresh_connections(server.addr);
    let mut done = Vec::new();
    for _ in 0..kills {
        record.answer(50).await;
        done.push(one(&mut server, Moment::draw(&mut rng)).await);
    }
    judge(&done, record, &ROWS).await;
}

/// Begins a restart, kills one of the two processes, and waits until all is well again.
async fn one(server: &mut Server, moment: Moment) -> Kill {
    let generation = get(server.addr, "/").await.generation.unwrap();
    let _held = held(server).await;
    let (old, before) = (server.pid, Logged::by(server));
    server.signal(Signal::HUP);
    let new = successor(old).await;
    let mut heard = None;
    if moment.after_commit {
        server.ready(generation + 1).await;
        heard = Some(Instant::now());
    }
    tokio::time::sleep(moment.delay).await;
    let victim = match moment.victim {
        Victim::Old => old,
        Victim::New => new,
    };
    let (sent, dead) = kill(victim).await;
    get(server.addr, "/").await;
    let up_after = dead.elapsed();
    if moment.victim == Victim::Old && heard.is_none() {
        assert_eq!(server.ready(generation + 1).await, new);
    }
    let before_commit = match moment.victim {
        Victim::Old => old_is_gone(server, old, &before).await,
        Victim::New => new_is_gone(server, old, &before).await,
    };
    Kill {
        row: ROWS[2 * usize::from(victim == new) + usize::from(!before_commit)],
        // Before COMMIT the successor has accepted nothing.
        had_any: victim == old || !before_commit,
        sent,
        not_its_own: heard.filter(|_| victim == old).unwrap_or(dead),
        up_after,
    }
}

/// Returns whether it had not handed over yet.
async fn old_is_gone(server: &Server, old: Pid, before: &Logged) -> bool {
    assert_eq!(exit(old).await, -9);
    Logged::by(server).promoted > before.promoted
}

/// Waits until the old process has noticed, and returns whether it had not handed over yet.
async fn new_is_gone(server: &mut Server, old: Pid, before: &Logged) -> bool {
    let mut now = Logged::by(server);
    until("the old process knows", async || {
        now = Logged::by(server);
        now.failed > before.failed || now.reclaimed > before.reclaimed
    })
    .await;
    let had_not = now.failed > before.failed;
    if !had_not {
        server.serves_again(old).await;
    }
    had_not
}

/// How often the log says what a kill leads to.
struct Logged {
    failed: usize,
    reclaimed: usize,
    promoted: usize,
}

impl Logged {
    fn by(server: &Server) -> Self {
        let log = server.process.log();
        let count = |text| log.matches(text).count();
        Self {
            failed: count("restart failed"),
            reclaimed: count("the successor died"),
            promoted: count("the predecessor is gone"),
        }
    }
}

/// The child of a process that has just been told to start it.
async fn successor(parent: Pid) -> Pid {
    let mut child = None;
    until("a successor", async || {
        child = children(parent).first().copied();
        child.is_some()
    })
    .await;
    child.unwrap()
}
