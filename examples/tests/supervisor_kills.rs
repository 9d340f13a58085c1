//! SIGKILL at random moments of a supervisor, of its worker, or of the worker that is to follow, under a load of fresh
//! connections, during a restart and between two. Each supervisor that is killed is followed by the next, which takes over
//! at the control socket, as a process manager would have it.
//!
//! `KILLS=200 cargo test -p graceful-examples --test supervisor_kills -- --nocapture` prints the table of
//! `docs/restart-faults.md`. The seed is printed first; `KILLS_SEED` repeats its choices.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::{Pid, Signal};
use support::kills::{Kill, START_DELAY, children, choices, delay, has_ended, held, judge, kill};
use support::process::{exit, scratch, signal};
use support::record::Record;
use support::server::{ANYWHERE, BINARY, Server};
use support::{get, until};

const BETWEEN: &str = "supervisor, between restarts";
const STARTING: &str = "supervisor, before COMMIT";
const REPLACED: &str = "supervisor, after COMMIT";
const WORKER: &str = "worker, between restarts";
const OLD_STARTING: &str = "old worker, before COMMIT";
const OLD_REPLACED: &str = "old worker, after COMMIT";
const NEW_STARTING: &str = "new worker, before COMMIT";
const NEW_SERVING: &str = "new worker, after COMMIT";
const ROWS: [&str; 8] = [
    BETWEEN,
    STARTING,
    REPLACED,
    WORKER,
    OLD_STARTING,
    OLD_REPLACED,
    NEW_STARTING,
    NEW_SERVING,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Supervisor,
    /// The worker that serves when the restart begins, if one does.
    Old,
    New,
}

/// What the moment counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// Now, and no restart is under way.
    Now,
    /// From when there is a new worker, which has just begun its program.
    Started,
    /// From when the new worker serves.
    Serving,
}

/// What is drawn for one kill.
#[derive(Clone, Copy, Debug)]
struct Moment {
    victim: Victim,
    since: Since,
    delay: Duration,
}

impl Moment {
    fn draw(rng: &mut Rng) -> Self {
        const KINDS: [(Victim, Since); 8] = [
            (Victim::Supervisor, Since::Now),
            (Victim::Supervisor, Since::Started),
            (Victim::Supervisor, Since::Serving),
            (Victim::Old, Since::Now),
            (Victim::Old, Since::Started),
            (Victim::Old, Since::Serving),
            (Victim::New, Since::Started),
            (Victim::New, Since::Serving),
        ];
        let (victim, since) = KINDS[rng.usize(..KINDS.len())];
        Self {
            victim,
            since,
            delay: delay(rng),
        }
    }
}

/// A supervisor, and those that come after it.
struct Service {
    server: Server,
    folder: PathBuf,
    flags: Vec<String>,
}

impl Service {
    async fn start() -> Self {
        let folder = scratch();
        let control = folder.join("control").to_str().unwrap().to_owned();
        let own = [
            "--supervise",
            "--takeover",
            "--start-delay",
            START_DELAY,
            "--control",
            &control,
        ];
        let flags: Vec<_> = own
            .iter()
            .chain(&ANYWHERE)
            .map(ToString::to_string)
            .collect();
        Self {
            server: next(&flags, 0).await,
            folder,
            flags,
        }
    }

    fn supervisor(&self) -> Pid {
        self.server.process.first
    }

    /// Begins a restart, and returns the worker that it starts as soon as there is one.
    async fn restart(&self) -> Pid {
        signal(self.supervisor(), Signal::HUP);
        let mut new = None;
        until("a new worker", async || {
            let others = children(self.supervisor()).into_iter();
            new = others.filter(|pid| *pid != self.server.pid).find(is_worker);
            new.is_some()
        })
        .await;
        new.unwrap()
    }
}

async fn next(flags: &[String], generation: u32) -> Server {
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    Server::run_others(BINARY.as_ref(), &flags, generation).await
}

/// And not the program that is asked beforehand whether it can say something.
fn is_worker(pid: &Pid) -> bool {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()));
    let is_named = |variable: &[u8]| {
        variable.starts_with(b"GRACEFUL_HANDOFF=")
            && variable.windows(8).any(|window| window == b";worker=")
    };
    environment.is_ok_and(|all| all.split(|byte| *byte == 0).any(is_named))
}

/// How often the log says what a kill leads to.
#[derive(Debug)]
struct Logged {
    /// The new worker had not taken over.
    failed: usize,
    /// The one that serves has ended.
    nobody: usize,
    /// A worker has taken over from the supervisor.
    took_over: usize,
    renewed: usize,
}

impl Logged {
    fn by(server: &Server) -> Self {
        let log = server.process.log();
        let count = |text| log.matches(text).count();
        Self {
            failed: count("no new worker"),
            nobody: count("the worker ended, and nobody serves"),
            took_over: count("the predecessor handed over") + count("serving for the supervisor"),
            renewed: count("was executed anew"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_around_a_supervisor_takes_nothing_along_but_what_it_had_in_flight() {
    let (kills, mut rng) = choices();
    let mut service = Service::start().await;
    let record = Record::of_fresh_connections(service.server.addr);
    let mut done = Vec::new();
    for _ in 0..kills {
        record.answer(50).await;
        done.push(one(&mut service, Moment::draw(&mut rng)).await);
        alone(&service).await;
    }
    judge(&done, record, &ROWS).await;
    signal(service.supervisor(), Signal::TERM);
    assert_eq!(service.server.process.exit().await, 0);
    let _ = fs::remove_dir_all(&service.folder);
}

/// Waits until no generation is left but the one that serves.
async fn alone(service: &Service) {
    until("one worker", async || {
        children(service.supervisor()) == [service.server.pid]
    })
    .await;
}

/// Begins a restart or none, kills one of the processes, and waits until all is well again.
async fn one(service: &mut Service, moment: Moment) -> Kill {
    let addr = service.server.addr;
    let generation = get(addr, "/").await.generation.unwrap();
    // Keeps a worker that was replaced.
    let held = held(&service.server).await;
    let before = Logged::by(&service.server);
    let old = service.server.pid;
    let new = match moment.since {
        Since::Now => None,
        _ => Some(service.restart().await),
    };
    if moment.since == Since::Serving {
        service.server.ready(generation + 1).await;
    }
    tokio::time::sleep(moment.delay).await;
    let victim = match moment.victim {
        Victim::Supervisor => service.supervisor(),
        Victim::Old => old,
        Victim::New => new.unwrap(),
    };
    let (sent, dead) = kill(victim).await;
    get(addr, "/").await;
    let up_after = dead.elapsed();
    let row = match moment.victim {
        Victim::Supervisor => {
            let orphans = Orphans { old, new };
            let row = orphans.settle(service, &before).await;
            let generation = generation + u32::from(row == REPLACED);
            let _before = succeed(service, generation + 1).await;
            drop(held);
            orphans.end(row).await;
            row
        }
        Victim::Old => old_is_gone(service, &before, old, moment.since, generation + 1).await,
        Victim::New => new_is_gone(service, &before, old, generation + 2).await,
    };
    Kill {
        row,
        // A supervisor accepts nothing, and a worker nothing before COMMIT.
        had_any: moment.victim != Victim::Supervisor && row != NEW_STARTING,
        sent,
        not_its_own: dead,
        up_after,
    }
}

/// What a supervisor leaves behind that is killed.
struct Orphans {
    old: Pid,
    new: Option<Pid>,
}

impl Orphans {
    /// Waits until it is decided which of them serves.
    async fn settle(&self, service: &Service, before: &Logged) -> &'static str {
        let Some(new) = self.new else {
            return BETWEEN;
        };
        let took_over = || Logged::by(&service.server).took_over > before.took_over;
        until("the new worker serves or ends", async || {
            has_ended(new) || took_over()
        })
        .await;
        if took_over() { REPLACED } else { STARTING }
    }

    /// Whoever served has handed over to the next supervisor's worker, and whoever did not has left that to it.
    async fn end(&self, row: &str) {
        assert_eq!(exit(self.old).await, 0, "{row}");
        if let Some(new) = self.new {
            let expected = if row == STARTING { 3 } else { 0 };
            assert_eq!(exit(new).await, expected, "{row}");
        }
    }
}

/// The next supervisor, whose worker serves as this generation. Returns what is left of the one before.
async fn succeed(service: &mut Service, generation: u32) -> Server {
    assert_eq!(service.server.process.exit().await, -9);
    let next = next(&service.flags, generation).await;
    assert_eq!(next.addr, service.server.addr);
    std::mem::replace(&mut service.server, next)
}

/// The worker that had served when the restart began.
async fn old_is_gone(
    service: &mut Service,
    before: &Logged,
    old: Pid,
    since: Since,
    next: u32,
) -> &'static str {
    until("the supervisor knows", async || {
        !children(service.supervisor()).contains(&old)
    })
    .await;
    if since != Since::Serving {
        service.server.ready_at_last(next).await;
    }
    if Logged::by(&service.server).nobody == before.nobody {
        return OLD_REPLACED;
    }
    renew(service, before).await;
    match since {
        Since::Now => WORKER,
        _ => OLD_STARTING,
    }
}

async fn new_is_gone(service: &mut Service, before: &Logged, old: Pid, next: u32) -> &'static str {
    let mut now = Logged::by(&service.server);
    until("the supervisor knows", async || {
        now = Logged::by(&service.server);
        now.failed > before.failed || now.nobody > before.nobody
    })
    .await;
    if now.failed > before.failed {
        service.server.pid = old;
        return NEW_STARTING;
    }
    service.server.ready_at_last(next).await;
    renew(service, before).await;
    NEW_SERVING
}

/// Executes the supervisor anew, which forgets the crash by that: the pause before the next worker doubles with each in a
/// row, and a worker of this test never serves for the half minute that ends the row.
async fn renew(service: &Service, before: &Logged) {
    signal(service.supervisor(), Signal::USR2);
    until("it is executed anew", async || {
        Logged::by(&service.server).renewed > before.renewed
    })
    .await;
}
