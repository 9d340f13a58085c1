//! SIGKILL at random moments of a restart, of the old process or of the new one, under a load of fresh connections.
//!
//! `KILLS=200 cargo test -p graceful-examples --test kills -- --nocapture` prints the table of `docs/restart-faults.md`. The
//! seed is printed first; `KILLS_SEED` repeats its choices.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]
#![allow(clippy::print_stderr, reason = "the seed and the table are for people")]

mod support;

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use fastrand::Rng;
use graceful_examples::load::Outcome;
use rustix::process::{Pid, Signal};
use support::process::{exit, signal};
use support::record::{Entry, Record};
use support::server::Server;
use support::wire::Wire;
use support::{get, until};

/// The survivor needs no timer to notice, and serves at once; this is for a machine that is busy with other things.
const UP_WITHIN: Duration = Duration::from_secs(20);
/// In the ordinary run.
const KILLS: usize = 40;
/// Longest wait between what the moment counts from and the signal: twice as long as a start takes at least, so that as many
/// come before COMMIT as after it, and some in between.
const SPREAD_MICROS: u64 = 120_000;
const START_DELAY: &str = "60ms";

/// Another kind of process that can be killed is another one here, in `one`, and in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Old,
    New,
}

/// What is drawn for one kill.
#[derive(Clone, Copy, Debug)]
struct Moment {
    victim: Victim,
    /// From when the successor serves; else from when it has the listeners.
    after_commit: bool,
    delay: Duration,
}

impl Moment {
    fn draw(rng: &mut Rng) -> Self {
        let victim = if rng.bool() { Victim::Old } else { Victim::New };
        Self {
            victim,
            after_commit: rng.bool(),
            delay: Duration::from_micros(rng.u64(..SPREAD_MICROS)),
        }
    }
}

/// One kill, and what followed.
#[derive(Debug)]
struct Kill {
    victim: Victim,
    before_commit: bool,
    sent: Instant,
    /// Whoever came from then on is not the killed process's.
    not_its_own: Instant,
    /// From the end of the process to the first answer to a client that came after it.
    up_after: Duration,
}

impl Kill {
    /// Whether the killed process may have had the request of this entry.
    fn explains(&self, lost: &Entry) -> bool {
        // Before COMMIT the successor has accepted nothing.
        let had_any = self.victim == Victim::Old || !self.before_commit;
        had_any && lost.started < self.not_its_own && lost.ended >= self.sent
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_takes_nothing_along_but_what_it_had_in_flight() {
    let kills = number("KILLS").map_or(KILLS, |n| n as usize);
    let seed = number("KILLS_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("KILLS={kills} KILLS_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let mut server = Server::start(&["--start-delay", START_DELAY]).await;
    let record = Record::of_fresh_connections(server.addr);
    let mut done = Vec::new();
    for _ in 0..kills {
        record.answer(50).await;
        done.push(one(&mut server, Moment::draw(&mut rng)).await);
    }
    record.answer(200).await;
    let entries = record.stop().await;
    eprint!("{}", Table(&done, &entries));
    judge(&done, &entries);
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap())
}

/// Begins a restart, kills one of the two processes, and waits until all is well again.
async fn one(server: &mut Server, moment: Moment) -> Kill {
    let generation = get(server.addr, "/").await.generation.unwrap();
    let _held = held(server).await;
    let (old, before) = (server.pid, Logged::by(server));
    server.signal(Signal::HUP);
    let new = successor(old).await;
    until("it has the listeners", async || was_greeted(new)).await;
    let mut heard = None;
    if moment.after_commit {
        server.ready(generation + 1).await;
        heard = Some(Instant::now());
    }
    tokio::time::sleep(moment.delay).await;
    let victim = if moment.victim == Victim::Old {
        old
    } else {
        new
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
        victim: moment.victim,
        before_commit,
        sent,
        not_its_own: heard.filter(|_| victim == old).unwrap_or(dead),
        up_after,
    }
}

/// A request that the process that serves is at for as long as the client reads: until then it drains.
async fn held(server: &Server) -> Wire {
    let mut held = Wire::open(server.addr).await;
    held.get("/stream?ms=60000&chunks=6000").await;
    held.read_until("chunk 0\n").await;
    held
}

/// When the signal was sent, and when the process had ended.
async fn kill(victim: Pid) -> (Instant, Instant) {
    let sent = Instant::now();
    signal(victim, Signal::KILL);
    until("its end", async || has_ended(victim)).await;
    (sent, Instant::now())
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

/// The child of a process, which the process has just been told to start.
async fn successor(parent: Pid) -> Pid {
    let mut child = None;
    until("a successor", async || {
        let tasks = fs::read_dir(format!("/proc/{}/task", parent.as_raw_nonzero())).unwrap();
        let children = tasks
            .flatten()
            .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
            .collect::<String>();
        child = children
            .split_whitespace()
            .next()
            .map(|pid| pid.parse().unwrap());
        child.is_some()
    })
    .await;
    Pid::from_raw(child.unwrap()).unwrap()
}

/// Whether a server has heard its predecessor out. Before that only the predecessor has the listeners, and its end is the
/// end of them. The handler of USR1 is installed after it; until exec a child has the handlers of its parent.
fn was_greeted(pid: Pid) -> bool {
    let read = |file| fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap();
    let stat = read("stat");
    // pid (name) state ppid pgrp session tty tpgid flags, proc_pid_stat(5); PF_FORKNOEXEC.
    let flags: u64 = stat
        .rsplit_once(") ")
        .unwrap()
        .1
        .split(' ')
        .nth(6)
        .unwrap()
        .parse()
        .unwrap();
    let status = read("status");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
    flags & 0x40 == 0 && caught >> (Signal::USR1.as_raw() - 1) & 1 == 1
}

/// A process that has let go of everything, whether somebody has asked for its status or not. Its first thread may have
/// ended while another one still holds what they share, and even accepts once more.
fn has_ended(pid: Pid) -> bool {
    let of = |file| format!("/proc/{}/{file}", pid.as_raw_nonzero());
    let Ok(stat) = fs::read_to_string(of("stat")) else {
        return true;
    };
    let threads = fs::read_dir(of("task")).map_or(0, Iterator::count);
    (stat.contains(") Z ") || stat.contains(") X ")) && threads <= 1
}

fn judge(kills: &[Kill], entries: &[Entry]) {
    let unexplained: Vec<_> = entries
        .iter()
        .filter(|entry| entry.outcome.is_loss() && !kills.iter().any(|kill| kill.explains(entry)))
        .collect();
    assert!(
        unexplained.is_empty(),
        "lost without a cause: {unexplained:#?}"
    );
    let unheard_of = |entry: &&Entry| {
        // A connection that was made, or begun and answered wrongly, is another matter than one that was cut.
        matches!(
            entry.outcome,
            Outcome::Refused | Outcome::TimedOut | Outcome::Wrong
        )
    };
    let never: Vec<_> = entries.iter().filter(unheard_of).collect();
    assert!(never.is_empty(), "what no kill excuses: {never:#?}");
    for kill in kills {
        assert!(kill.up_after < UP_WITHIN, "{kill:?}");
    }
}

/// The kills by kind, and what each kind cost.
struct Table<'a>(&'a [Kill], &'a [Entry]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered = self
            .1
            .iter()
            .filter(|entry| !entry.outcome.is_loss())
            .count();
        writeln!(f, "{} kills, {answered} requests answered", self.0.len())?;
        writeln!(
            f,
            "| killed | kills | refused | reset or closed unanswered | cut in the answer | up after, median | longest |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        for (victim, who) in [(Victim::Old, "old process"), (Victim::New, "new process")] {
            for (before, when) in [(true, "before COMMIT"), (false, "after COMMIT")] {
                self.row(f, &format!("{who}, {when}"), |kill| {
                    kill.victim == victim && kill.before_commit == before
                })?;
            }
        }
        Ok(())
    }
}

impl Table<'_> {
    fn row(
        &self,
        f: &mut fmt::Formatter<'_>,
        title: &str,
        of: impl Fn(&&Kill) -> bool,
    ) -> fmt::Result {
        let kills: Vec<_> = self.0.iter().filter(of).collect();
        let lost = |kinds: &[Outcome]| {
            let is = |entry: &&Entry| {
                kinds.contains(&entry.outcome) && kills.iter().any(|kill| kill.explains(entry))
            };
            self.1.iter().filter(is).count()
        };
        let mut up: Vec<_> = kills.iter().map(|kill| kill.up_after.as_millis()).collect();
        up.sort_unstable();
        writeln!(
            f,
            "| {title} | {} | {} | {} | {} | {} ms | {} ms |",
            kills.len(),
            lost(&[Outcome::Refused]),
            lost(&[Outcome::Reset, Outcome::Closed]),
            lost(&[Outcome::Cut]),
            up.get(up.len() / 2).copied().unwrap_or_default(),
            up.last().copied().unwrap_or_default(),
        )
    }
}
