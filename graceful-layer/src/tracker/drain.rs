//! The order of a stop: waits, goes through the phases, makes the report (laws 1, 5 and 7).

use std::{future::poll_fn, sync::atomic::Ordering::Relaxed, time::Duration};

use graceful_signal::ShutdownSignal;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{Progress, Tracker, held, hooks, pulse::Pulse, retire::Retire, sweep::Sweep};
use crate::{
    CutReason, Grace, Phase, Report,
    conn::ConnState,
    log,
    metrics::Metrics,
    state::{Arena, Cell, Orders},
    sync::lock,
};

/// How often connections are looked at in lame duck.
const TICK: Duration = Duration::from_millis(100);
/// How often connections are looked at while draining, unless the looking itself takes a twentieth of that.
const SWEEP: Duration = Duration::from_millis(20);
/// How often the log says what the drain still waits for.
const REMIND: Duration = Duration::from_secs(5);
/// How long what is cut may take to be dropped, at the least.
const DROPPED: Duration = Duration::from_millis(100);

pub(super) async fn run(tracker: Tracker, signal: ShutdownSignal, grace: Grace) -> Report {
    let lease = tracker.clone();
    let mut last = lease.0.driver.lock().await;
    if let Some(report) = &*last {
        return report.clone();
    }
    let wanted = tracker.0.wanted.subscribe();
    tracker.arena().set_bounds(grace.linger, grace.cutoff / 2);
    let mut stop = Stop {
        tracker,
        signal,
        grace,
        wanted,
        heard: 0,
        forgiven: 0,
        hooked: Phase::Serving,
        hooks: JoinSet::new(),
        report: Report::default(),
        metrics: Metrics::default(),
    };
    let report = loop {
        stop.serve().await;
        if stop.run().await == Way::On {
            break stop.report;
        }
        stop.go_back();
    };
    *last = Some(report.clone());
    report
}

struct Stop {
    tracker: Tracker,
    signal: ShutdownSignal,
    grace: Grace,
    wanted: watch::Receiver<Phase>,
    /// Deliveries of the signal that have had their effect.
    heard: u32,
    /// How many of them belong to stops that were taken back.
    forgiven: u32,
    /// The last phase whose hooks have been started.
    hooked: Phase,
    /// The hooks that run; they end with the shutdown (law 7).
    hooks: JoinSet<()>,
    report: Report,
    metrics: Metrics,
}

/// Where a phase leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    On,
    Back,
}

impl Stop {
    /// Normal service: until the signal or a command.
    async fn serve(&mut self) {
        let mut pulse = Pulse::new();
        loop {
            self.tick();
            let timeouts = self.tracker.timeouts();
            self.sweep(&Sweep::serving(&timeouts));
            tokio::select! {
                biased;
                () = self.hurried(Phase::Serving) => return,
                () = pulse.next() => {}
            }
        }
    }

    /// All phases of one stop. `Back` if it was taken back.
    async fn run(&mut self) -> Way {
        let began = Instant::now();
        self.report.cause = self.signal.cause();
        self.report.drained = self.tracker.counts();
        self.report.drained_requests = self.tracker.in_flight();
        let draining_at = after(began, self.grace.lame_duck);
        let cutoff_at = after(draining_at, self.grace.drain);
        self.set_deadline(Some(cutoff_at));

        if self.wanted() <= Phase::LameDuck && !self.grace.lame_duck.is_zero() {
            self.enter(Phase::LameDuck);
            let way = self.lame_duck(draining_at).await;
            self.report.lame_duck = began.elapsed();
            if way == Way::Back {
                return way;
            }
        }
        if self.wanted() <= Phase::Draining {
            let entered = Instant::now();
            self.enter(Phase::Draining);
            let way = self.drain(entered, cutoff_at).await;
            self.report.draining = entered.elapsed();
            if way == Way::Back {
                return way;
            }
        }
        if self.tracker.arena().outstanding() > 0 {
            self.note_held();
            let hurried = Instant::now() < cutoff_at;
            self.tracker.0.ledger.set_hurried(hurried);
            self.enter(Phase::Cutoff);
            self.cutoff().await;
        }
        self.close().await;
        Way::On
    }

    /// Ends on time or when hurried, never because nothing is in flight (law 5).
    async fn lame_duck(&mut self, until: Instant) -> Way {
        let rules = Retire::new(&self.grace, self.tracker.now_ms());
        loop {
            self.tick();
            self.retire(&rules);
            let next = (Instant::now() + TICK).min(until);
            tokio::select! {
                biased;
                () = self.hurried(Phase::LameDuck) => return self.way(),
                () = sleep_until(next) => {}
            }
            if Instant::now() >= until {
                return Way::On;
            }
        }
    }

    /// Asks the connections to go after their next answer whose turn it is.
    fn retire(&self, rules: &Retire) {
        let now = self.tracker.now_ms();
        let orders = Orders::new(Phase::LameDuck, rules.ramp(now));
        self.tracker
            .arena()
            .order(orders, |cell| match rules.is_due(cell, now) {
                true => u8::MAX,
                false => 0,
            });
    }

    /// Ends when nothing is left, at the deadline, or when hurried.
    async fn drain(&mut self, entered: Instant, until: Instant) -> Way {
        self.tick();
        // This millisecond has begun already: whoever counts from the next one gets all of the grace.
        let start = self.tracker.now_ms().wrapping_add(1);
        let rules = Sweep::draining(&self.grace, start, self.report.drained.total());
        let told_at = after(entered, self.grace.idle_grace);
        let tracker = self.tracker.clone();
        let arena = tracker.arena();
        let mut pause = SWEEP;
        let mut remind_at = entered + REMIND;
        // At once, so that what is due at once wakes its task one time, for the phase and the end.
        self.sweep(&rules);
        loop {
            let now = Instant::now();
            let told = now >= told_at;
            if told {
                self.announce(Phase::Draining, true);
            }
            // Connections that nobody tells us of may be idle: their clients get the idle grace first.
            let may_end = told || !self.tracker.has_loose_requests();
            let next = (now + pause).min(until);
            tokio::select! {
                biased;
                () = self.hurried(Phase::Draining) => return self.way(),
                () = emptied(arena), if may_end => return Way::On,
                () = sleep_until(next) => {}
            }
            if Instant::now() >= until {
                return Way::On;
            }
            self.tick();
            let before = Instant::now();
            self.sweep(&rules);
            self.note_held();
            if before >= remind_at && !tracker.0.silent {
                log::still_open(
                    &held::all(&tracker),
                    Some(until.saturating_duration_since(before)),
                );
                remind_at = before + REMIND;
            }
            pause = SWEEP.max(before.elapsed() * 20);
        }
    }

    /// Tells clients what can be told in half of the time, then drops the rest.
    async fn cutoff(&mut self) {
        let began = Instant::now();
        let cut_at = after(began, self.grace.cutoff / 2);
        let gone_at = after(began, self.grace.cutoff);
        let arena = self.tracker.arena();
        let _ = tokio::time::timeout_at(cut_at, emptied(arena)).await;
        self.cut();
        arena.cut_loose();
        arena.wake_parked();
        // To be dropped a task must be polled, and that takes a moment whatever the policy says (law 7).
        let gone_at = gone_at.max(Instant::now() + DROPPED);
        let _ = tokio::time::timeout_at(gone_at, emptied(arena)).await;
        self.report.cutoff = began.elapsed();
    }

    fn cut(&mut self) {
        let (tracker, reason) = (&self.tracker, self.tracker.cut_reason());
        let cut = &mut self.report.cut;
        tracker.arena().walk(|cell| {
            let state = cell.state();
            if matches!(
                state,
                ConnState::Active | ConnState::Hijacked | ConnState::Handshaking
            ) {
                let closed = tracker.closed(cell, reason);
                // Its requests have lines of their own.
                if cell.in_flight() == 0 {
                    log::closed(&closed);
                }
                cut.push(closed);
            }
            cell.order(|old| old | Orders::CUT);
        });
    }

    async fn close(&mut self) {
        let arena = self.tracker.arena();
        let tracker = self.tracker.clone();
        self.report.left = arena.outstanding();
        let beacons = arena.beacons();
        self.report.beacons = beacons.iter().map(|held| held.label().to_owned()).collect();
        self.end_hooks().await;
        self.report.handed_over = self.tracker.is_handed_over();
        self.report.left_requests = arena.in_flight();
        self.report.abandoned = self.tracker.0.ledger.take();
        self.report.failed = arena.failed();
        (self.report.connections, self.report.requests) = arena.totals();
        let hooks = lock(&tracker.0.hooks).clone();
        hooks::finish(&tracker, &hooks, REMIND).await;
        let ledger = &tracker.0.ledger;
        self.report.add_closed(ledger.take_closed());
        self.report.beacons.extend(ledger.take_unfinished());
        self.report.panics = ledger.take_panics();
        self.enter(Phase::Closed);
        if !self.tracker.0.silent {
            self.metrics.finish(&self.tracker, &self.report);
        }
    }

    /// The stop was taken back: everybody may stay, and a later signal begins anew.
    fn go_back(&mut self) {
        self.tracker.0.wanted.send_replace(Phase::Serving);
        self.report = Report::default();
        self.tracker.0.ledger.take_closed();
        self.forgiven = self.heard;
        self.tracker.0.signalled.store(false, Relaxed);
        self.set_deadline(None);
        let handed_over = self.tracker.phase() == Phase::Draining;
        self.enter(Phase::Serving);
        // Not before: what no longer moves is told to close while the phase says so.
        if handed_over {
            self.tracker.arena().order_moves(false);
        }
    }

    /// Waits for a reason to leave `phase` early: a further signal or a command.
    async fn hurried(&mut self, phase: Phase) {
        let command =
            |wanted: &Phase| *wanted > phase || (*wanted == Phase::Serving && phase != *wanted);
        while !command(&self.wanted()) {
            tokio::select! {
                biased;
                () = self.signal.reached(self.heard + 1) => {}
                // The sender lives in the tracker held here.
                _ = self.wanted.wait_for(command) => {}
            }
            // A signal that comes while the stop is being taken back is the first of the next one.
            if self.wanted() == Phase::Serving && phase != Phase::Serving {
                return;
            }
            self.hear(phase);
        }
    }

    /// Takes a step for each delivery of the signal. The first says "stop": if a command has said so before, it is nothing
    /// new, but that the stop can no longer be reclaimed. After a hand-over neither is the second: systemd says it to all of
    /// a unit, and once more to those that are left when the main process has ended.
    fn hear(&mut self, phase: Phase) {
        let fresh = self.signal.level().saturating_sub(self.heard);
        let begun = phase.max(self.wanted()) > Phase::Serving;
        let nothing_new = u32::from(begun) + u32::from(self.tracker.is_handed_over());
        let before = self.heard - self.forgiven;
        let known = nothing_new.saturating_sub(before).min(fresh);
        if fresh == 0 {
            return;
        }
        self.heard += fresh;
        self.tracker.0.signalled.store(true, Relaxed);
        for _ in known..fresh {
            self.tracker.advance();
        }
        if self.heard - self.forgiven >= 3 {
            self.tracker.cutoff();
        }
    }

    fn wanted(&self) -> Phase {
        *self.wanted.borrow()
    }

    fn way(&self) -> Way {
        match self.wanted() {
            Phase::Serving => Way::Back,
            _ => Way::On,
        }
    }

    fn tick(&mut self) {
        let now = self.tracker.now_ms();
        self.tracker.arena().set_tick(now);
        if !self.tracker.0.silent {
            self.metrics.publish(&self.tracker, now);
        }
    }

    fn sweep(&self, rules: &Sweep) {
        let now = self.tracker.now_ms();
        self.tracker.arena().walk(|cell| {
            if let Some(order) = rules.due(cell, now) {
                if order == Orders::CUT {
                    self.tracker.note_closed(cell, overdue(cell));
                }
                cell.order(|old| old | order);
            }
        });
    }

    /// Makes `phase` true for everybody: connections, requests, those who wait, the log.
    fn enter(&mut self, phase: Phase) {
        if self.wanted() < phase {
            self.tracker.0.wanted.send_replace(phase);
        }
        self.tracker.arena().order(Orders::new(phase, 0), |_| 0);
        if phase == Phase::Cutoff {
            self.tracker.arena().wake_parked();
        }
        self.announce(phase, phase > Phase::Draining);
        self.start_hooks(phase);
        if !self.tracker.0.silent {
            log::phase(&self.tracker, phase);
        }
    }

    /// Drops the hooks that still run (law 7). A hook that blocks its thread cannot be dropped, and is not waited for.
    async fn end_hooks(&mut self) {
        self.hooks.abort_all();
        let ended = async { while self.hooks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(DROPPED, ended).await;
    }

    /// Starts the hooks of `phase`, and those of a lame duck that was skipped.
    fn start_hooks(&mut self, phase: Phase) {
        // Those that have ended are forgotten.
        while self.hooks.try_join_next().is_some() {}
        let hooks = lock(&self.tracker.0.hooks).clone();
        for begun in [Phase::LameDuck, Phase::Draining, Phase::Cutoff] {
            if begun <= phase && phase < Phase::Closed && self.hooked < begun {
                hooks::start(&self.tracker, &hooks, begun, &mut self.hooks);
            }
        }
        self.hooked = phase;
    }

    fn announce(&self, phase: Phase, told: bool) {
        self.tracker.0.progress.send_if_modified(|now| {
            let changed = now.phase != phase || now.told != told;
            *now = Progress { phase, told };
            changed
        });
    }

    /// What is worked on is worth a name; once only idle connections are left, what came before them is.
    fn note_held(&mut self) {
        if let Some(held) = held::longest(&self.tracker) {
            self.report.held = Some(held);
        }
    }

    fn set_deadline(&self, deadline: Option<Instant>) {
        *lock(&self.tracker.0.deadline) = deadline;
    }
}

/// The part of a request that a client did not complete in time.
fn overdue(cell: &Cell) -> CutReason {
    match cell.state() {
        ConnState::Handshaking => CutReason::IncompleteHandshake,
        _ => CutReason::IncompleteHeader,
    }
}

/// Waits until nothing is outstanding.
async fn emptied(arena: &Arena) {
    poll_fn(|cx| arena.poll_empty(cx)).await;
}

/// `start + wait`, but no more than a year from then, which no clock overflows on.
fn after(start: Instant, wait: Duration) -> Instant {
    start + wait.min(Duration::from_secs(86_400 * 365))
}
