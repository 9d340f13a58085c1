//! What a service manager hears of the supervisor, through `NOTIFY_SOCKET` as `sd_notify` does. Its workers are not told of
//! the manager: the number that it knows is the supervisor's, and stays the main one.

use std::time::Duration;

use graceful_listener::{Notify, NotifyState};
use tokio::time::{Instant, sleep_until};

use crate::log;

/// How much time a stop asks for at once, and how often.
const EXTENSION: Duration = Duration::from_secs(10);
const OFTEN: Duration = Duration::from_secs(5);
/// No watchdog is fed more often.
const FASTEST: Duration = Duration::from_millis(10);

pub(super) struct Manager {
    notify: Notify,
    stopping: bool,
    next: Instant,
}

impl Manager {
    pub(super) fn from_env() -> Self {
        Self {
            notify: Notify::from_env(),
            stopping: false,
            next: Instant::now(),
        }
    }

    /// A worker is about to be replaced.
    pub(super) fn restarting(&self) {
        self.say(&[NotifyState::Reloading]);
    }

    /// Somebody serves, be it the next worker or, after a restart that failed, the one before.
    pub(super) fn serving(&self, status: String) {
        self.say(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Nobody serves for the moment.
    pub(super) fn crashed(&self, status: String) {
        self.say(&[NotifyState::Status(status)]);
    }

    /// The service ends, and not before its last worker.
    pub(super) fn stopping(&mut self) {
        if !std::mem::replace(&mut self.stopping, true) {
            self.next = Instant::now();
            self.say(&[NotifyState::Stopping]);
        }
    }

    /// Says from time to time that this process is alive, and while it stops, that it takes longer; never ready if nobody
    /// wants to know. Cancel safe.
    pub(super) async fn beat(&mut self) {
        let watchdog = self
            .notify
            .watchdog()
            .map(|within| (within / 2).max(FASTEST));
        let stop = self.stopping.then_some(OFTEN);
        let pause = [watchdog, stop].into_iter().flatten().min();
        let Some(pause) = pause.filter(|_| self.notify.is_enabled()) else {
            return std::future::pending().await;
        };
        sleep_until(self.next).await;
        self.next = Instant::now() + pause;
        let extend = self
            .stopping
            .then_some(NotifyState::ExtendTimeout(EXTENSION));
        let alive = watchdog.map(|_| NotifyState::Watchdog);
        self.say(&extend.into_iter().chain(alive).collect::<Vec<_>>());
    }

    fn say(&self, states: &[NotifyState]) {
        if let Err(error) = self.notify.send(states) {
            log::not_notified(&error);
        }
    }
}
