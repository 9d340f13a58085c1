//! What a service manager hears of the server, without being asked to (sd_notify): ready, reloading, stopping, how many
//! connections there are, that a stop takes longer, that it is alive. Without a manager all of it is nothing.
//!
//! After a hand-over the unit is the successor's, unless that is another unit's process: this process then says no more than
//! that a stop takes longer. Which process is the main one `graceful_listener` says.

mod status;

use std::{error::Error, fs, future::pending, io, sync::Arc, time::Duration};

use graceful_layer::{Phase, Tracker};
use graceful_listener::{HandoffListener, Notify, NotifyState, generation};
use graceful_signal::ShutdownSignal;
use tokio::time::{Instant, sleep_until};

use crate::log;

/// How often counts are told at the most, in service and while something is going on.
const IN_SERVICE: Duration = Duration::from_secs(5);
const UNDER_WAY: Duration = Duration::from_secs(1);
/// How much time is asked for at once, several times before it is over.
const EXTENSION: Duration = Duration::from_secs(10);
/// No watchdog is fed more often.
const FASTEST: Duration = Duration::from_millis(10);

pub(crate) struct Manager {
    notify: Notify,
    tracker: Tracker,
    stop: ShutdownSignal,
    /// The last part of a stop, after its deadline.
    cutoff: Duration,
    /// Whether listeners are stored.
    stores: bool,
    restarting: bool,
    /// Whether another unit's process has taken over.
    left_behind: bool,
    /// What became of the last restart, if it failed.
    note: Option<String>,
    /// What the manager had no room for.
    unsent: Vec<NotifyState>,
    /// What the manager shows, its part before the counts, and when to count again.
    status: String,
    event: String,
    count_at: Instant,
    phase: Phase,
    next: Instant,
}

impl Manager {
    pub(crate) fn new(
        tracker: &Tracker,
        stop: &ShutdownSignal,
        cutoff: Duration,
        stores: bool,
    ) -> Self {
        let now = Instant::now();
        Self {
            notify: Notify::from_env(),
            tracker: tracker.clone(),
            stop: stop.clone(),
            cutoff,
            stores,
            restarting: false,
            left_behind: false,
            note: None,
            unsent: Vec::new(),
            status: String::new(),
            event: String::new(),
            count_at: now,
            phase: tracker.phase(),
            next: now,
        }
    }

    /// Connections are accepted from here on. A successor whose predecessor died is told from no other.
    pub(crate) fn serving(&mut self, listeners: &[Arc<HandoffListener>]) {
        self.store(listeners);
        let main = (generation() > 0).then(|| NotifyState::MainPid(std::process::id()));
        self.say(main.into_iter().chain([NotifyState::Ready]));
        self.speak();
    }

    /// A successor is being started.
    pub(crate) fn restarting(&mut self) {
        if !std::mem::replace(&mut self.restarting, true) {
            self.say([NotifyState::Reloading]);
        }
        self.speak();
    }

    /// No successor is being started any more: one serves, or why not.
    pub(crate) fn restarted(&mut self, failed: Option<&dyn Error>) {
        self.restarting = false;
        self.note =
            failed.map(|error| format!("the last restart failed: {}", status::with_causes(error)));
        self.say([NotifyState::Ready]);
        self.speak();
    }

    /// A process that somebody else has started took over. If it is another unit's, this one has still this process for its
    /// main one, and ends with it: so the watchdog is fed and the status told as before, and the listeners are no longer this
    /// unit's to hold.
    pub(crate) fn taken_over(&mut self, pid: u32, listeners: &[Arc<HandoffListener>]) {
        self.left_behind = !is_of_this_unit(pid);
        if self.left_behind && self.stores {
            self.heard(self.notify.unstore(&borrowed(listeners)));
        }
    }

    /// The successor died, and this process is about to serve again.
    pub(crate) fn reclaimed(&mut self, status: &str) {
        self.left_behind = false;
        self.note = Some(format!("the successor died: {status}"));
        // What is shown is the successor's.
        self.status.clear();
    }

    /// Nothing is accepted any more. A stored listener must not outlive that: its clients would wait for nobody.
    pub(crate) fn sealing(&mut self, listeners: &[Arc<HandoffListener>]) {
        if self.tracker.is_handed_over() {
            return;
        }
        if self.stores {
            self.heard(self.notify.unstore(&borrowed(listeners)));
        }
        self.say([NotifyState::Stopping]);
        self.speak();
    }

    /// Waits until there is something to say, and says it. Never ready without a manager. Cancel safe.
    pub(crate) async fn beat(&mut self) {
        if !self.notify.is_enabled() {
            return pending().await;
        }
        tokio::select! {
            () = sleep_until(self.next) => {}
            _ = self.tracker.left(self.phase) => {}
        }
        self.speak();
    }

    /// Says what is due.
    fn speak(&mut self) {
        if !self.notify.is_enabled() {
            return;
        }
        self.phase = self.tracker.phase();
        let ours = self.left_behind || !self.tracker.is_handed_over();
        let period = if self.is_under_way() {
            UNDER_WAY
        } else {
            IN_SERVICE
        };
        let watchdog = self.notify.watchdog().filter(|_| ours);
        let extension = self
            .is_timed()
            .then(|| NotifyState::ExtendTimeout(self.extension()));
        let status = if ours { self.news(period) } else { None };
        let alive = watchdog.map(|_| NotifyState::Watchdog);
        self.say(alive.into_iter().chain(extension).chain(status));
        let pulse = watchdog.map_or(period, |interval| (interval / 2).max(FASTEST));
        self.next = Instant::now() + period.min(pulse);
    }

    fn is_under_way(&self) -> bool {
        self.restarting || self.phase > Phase::Serving
    }

    /// Whether the manager looks at the clock: a reload, or a stop that it knows of. In lame duck without a signal it
    /// believes that all is as ever.
    fn is_timed(&self) -> bool {
        let stopping = self.stop.has_fired() || !self.tracker.is_handed_over();
        let draining = self.phase >= Phase::Draining && stopping;
        self.restarting || draining || (self.phase == Phase::LameDuck && self.stop.has_fired())
    }

    /// No longer than the stop can take.
    fn extension(&self) -> Duration {
        let until_cutoff = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let left = self.tracker.deadline().map(until_cutoff);
        left.map_or(EXTENSION, |left| {
            let rest = self.cutoff.saturating_add(UNDER_WAY);
            EXTENSION.min(left.saturating_add(rest))
        })
    }

    /// The status, if there is a new one: what happened at once, and counts, which are a scan, when it is time.
    fn news(&mut self, period: Duration) -> Option<NotifyState> {
        let now = Instant::now();
        let event = status::event(&self.tracker, self.restarting, self.note.as_deref());
        if event == self.event && now < self.count_at {
            return None;
        }
        let text = format!("{event}: {}", status::counts(&self.tracker, now));
        (self.event, self.count_at) = (event, now + period);
        let new = text != self.status;
        self.status.clone_from(&text);
        new.then_some(NotifyState::Status(text))
    }

    fn store(&self, listeners: &[Arc<HandoffListener>]) {
        if self.stores {
            self.heard(self.notify.store(&borrowed(listeners)));
        }
    }

    /// What happened and does not get through is said again with the next message.
    fn say(&mut self, states: impl IntoIterator<Item = NotifyState>) {
        self.unsent.extend(states);
        match self.notify.send(&self.unsent) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.unsent.retain(is_an_event);
            }
            outcome => {
                self.unsent.clear();
                self.heard(outcome);
            }
        }
    }

    fn heard(&self, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            log::not_notified(error);
        }
    }
}

/// Whether a process is in the control group of this one. cgroups(7).
fn is_of_this_unit(pid: u32) -> bool {
    let group = |process: &str| fs::read(format!("/proc/{process}/cgroup")).ok();
    group("self").is_some_and(|ours| group(&pid.to_string()) == Some(ours))
}

/// Whether it is true until something else happens, and not only now.
fn is_an_event(state: &NotifyState) -> bool {
    use NotifyState::{ExtendTimeout, Status, Watchdog};
    !matches!(state, ExtendTimeout(_) | Status(_) | Watchdog)
}

fn borrowed(listeners: &[Arc<HandoffListener>]) -> Vec<&HandoffListener> {
    listeners.iter().map(AsRef::as_ref).collect()
}
