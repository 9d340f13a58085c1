//! Kills at random moments: what is drawn, what each was and cost, the judgement over all of them, and their table.

use std::fmt;
use std::fs;
use std::ops::Range;
use std::time::{Duration, Instant};

use fastrand::Rng;
use graceful_examples::load::Outcome;
use rustix::process::{Pid, Signal};

use super::process::signal;
use super::record::{Entry, Record};
use super::server::Server;
use super::until;
use super::wire::Wire;

/// The survivor needs no timer to notice, and serves at once; this is for a machine that is busy with other things.
const UP_WITHIN: Duration = Duration::from_secs(20);
/// In the ordinary run.
const KILLS: usize = 40;
/// Longest wait between what the moment counts from and the signal: twice as long as a start takes at least, so that as many
/// come before COMMIT as after it, and some in between.
const SPREAD_MICROS: Range<u64> = 0..120_000;
pub(crate) const START_DELAY: &str = "60ms";

/// One kill, and what followed.
#[derive(Debug)]
pub(crate) struct Kill {
    /// Its row in the table.
    pub(crate) row: &'static str,
    /// Whether the killed process had accepted anything.
    pub(crate) had_any: bool,
    pub(crate) sent: Instant,
    /// Whoever came from then on is not the killed process's.
    pub(crate) not_its_own: Instant,
    /// From the end of the process to the first answer to a client that came after it.
    pub(crate) up_after: Duration,
}

impl Kill {
    /// Whether the killed process may have had the request of this entry.
    fn explains(&self, lost: &Entry) -> bool {
        self.had_any && lost.started < self.not_its_own && lost.ended >= self.sent
    }
}

/// How many kills, and the choices among them: from the environment, or those of the ordinary run.
pub(crate) fn choices() -> (usize, Rng) {
    let kills = number("KILLS").map_or(KILLS, |n| n as usize);
    let seed = number("KILLS_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("KILLS={kills} KILLS_SEED={seed}");
    (kills, Rng::with_seed(seed))
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap())
}

pub(crate) fn delay(rng: &mut Rng) -> Duration {
    Duration::from_micros(rng.u64(SPREAD_MICROS))
}

/// A request that the process that serves is at for as long as the client reads: until then it drains.
pub(crate) async fn held(server: &Server) -> Wire {
    let mut held = Wire::open(server.addr).await;
    held.get("/stream?ms=60000&chunks=6000").await;
    held.read_until("chunk 0\n").await;
    held
}

/// When the signal was sent, and when the process had ended.
pub(crate) async fn kill(victim: Pid) -> (Instant, Instant) {
    let sent = Instant::now();
    signal(victim, Signal::KILL);
    until("its end", async || has_ended(victim)).await;
    (sent, Instant::now())
}

/// A process that has let go of everything, whether somebody has asked for its status or not. Its first thread may have
/// ended while another one still holds what they share, and even accepts once more.
pub(crate) fn has_ended(pid: Pid) -> bool {
    let of = |file| format!("/proc/{}/{file}", pid.as_raw_nonzero());
    let Ok(stat) = fs::read_to_string(of("stat")) else {
        return true;
    };
    let threads = fs::read_dir(of("task")).map_or(0, Iterator::count);
    (stat.contains(") Z ") || stat.contains(") X ")) && threads <= 1
}

/// The children of a process, whichever of its threads started them.
pub(crate) fn children(parent: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", parent.as_raw_nonzero()));
    let tasks = tasks.into_iter().flatten().flatten();
    let children = tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .collect::<String>();
    children
        .split_whitespace()
        .filter_map(|pid| Pid::from_raw(pid.parse().unwrap()))
        .collect()
}

/// Ends the load and says what the kills cost; `rows` are the kinds there are.
pub(crate) async fn judge(kills: &[Kill], record: Record, rows: &[&str]) {
    record.answer(200).await;
    let entries = record.stop().await;
    eprint!("{}", Table(kills, &entries, rows));
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
struct Table<'a>(&'a [Kill], &'a [Entry], &'a [&'a str]);

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
        self.2.iter().try_for_each(|row| self.row(f, row))
    }
}

impl Table<'_> {
    fn row(&self, f: &mut fmt::Formatter<'_>, row: &str) -> fmt::Result {
        let kills: Vec<_> = self.0.iter().filter(|kill| kill.row == row).collect();
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
            "| {row} | {} | {} | {} | {} | {} ms | {} ms |",
            kills.len(),
            lost(&[Outcome::Refused]),
            lost(&[Outcome::Reset, Outcome::Closed]),
            lost(&[Outcome::Cut]),
            up.get(up.len() / 2).copied().unwrap_or_default(),
            up.last().copied().unwrap_or_default(),
        )
    }
}
