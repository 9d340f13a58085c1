//! The processes that serve, or have served and drain, and what is heard of them.

use std::{
    future::{Future, poll_fn},
    io,
    process::ExitStatus,
    task::Poll,
    time::Duration,
};

use graceful_listener::{RestartRequest, Worker, WorkerNews, generation};
use graceful_signal::SignalKind;
use tokio::time::{Instant, sleep_until};

/// One worker, as the supervisor sees it.
pub(super) struct Held {
    worker: Worker,
    since: Instant,
    /// Whether it said that it ends on purpose.
    leaves: bool,
    /// When it is killed, once it was told to end.
    deadline: Option<Instant>,
    /// The process that it has handed over to.
    heir: u32,
    /// When it gets SIGTERM, if it does not go by itself.
    patience: Option<Instant>,
}

/// How long a worker that was told of the next one may take to begin to leave.
const TO_LEAVE: Duration = Duration::from_secs(5);

impl Held {
    fn new(worker: Worker) -> Self {
        Self {
            worker,
            since: Instant::now(),
            leaves: false,
            deadline: None,
            heir: 0,
            patience: None,
        }
    }

    /// Has it hand over to `next`. If that is gone by now, this one serves on.
    fn hand_over(&mut self, next: &Worker, drain_timeout: Duration) {
        match self.worker.hand_over_to(next) {
            Ok(true) => (self.heir, self.patience) = (next.pid(), Some(after(TO_LEAVE))),
            Ok(false) => self.worker.replace(),
            Err(error) => return crate::log::worker_not_replaced(&self.worker, &error),
        }
        self.deadline = Some(after(drain_timeout));
    }
}

/// What is heard.
pub(super) enum News {
    AsksForRestart(RestartRequest),
    /// The one that serves begins to end on purpose.
    Leaves,
    /// One that was replaced serves again.
    ServesAgain,
    Ended(End),
}

/// The end of a worker.
pub(super) struct End {
    pub(super) name: String,
    pub(super) status: io::Result<ExitStatus>,
    /// Whether it was the one that serves.
    pub(super) served: bool,
    pub(super) on_purpose: bool,
    pub(super) uptime: Duration,
}

#[derive(Default)]
pub(super) struct Workers(Vec<Held>);

impl Workers {
    /// Those from before an exec.
    pub(super) fn inherited(drain_timeout: Duration) -> Self {
        let held = |worker: Worker| {
            let replaced = worker.is_replaced();
            let mut held = Held::new(worker);
            held.deadline = replaced.then(|| after(drain_timeout));
            held
        };
        Self(Worker::inherited().into_iter().map(held).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.0.iter().map(|held| held.worker.pid()).collect()
    }

    pub(super) fn all(&self) -> Vec<&Worker> {
        self.0.iter().map(|held| &held.worker).collect()
    }

    /// The generation after the last one, or after that of a predecessor of this process itself.
    pub(super) fn next_generation(&self) -> u32 {
        let last = self.0.iter().map(|held| held.worker.generation()).max();
        last.map_or_else(generation, |last| last.saturating_add(1))
    }

    /// The one that serves.
    pub(super) fn serving(&self) -> Option<&Worker> {
        self.0
            .iter()
            .map(|held| &held.worker)
            .find(|worker| !worker.is_replaced())
    }

    /// Puts `worker` into the place of the one that serves, which has so long to drain.
    pub(super) fn replace(&mut self, worker: Worker, drain_timeout: Duration) {
        for held in self.0.iter_mut().filter(|held| !held.worker.is_replaced()) {
            held.hand_over(&worker, drain_timeout);
        }
        self.0.push(Held::new(worker));
    }

    /// The one that serves, to be asked for its state.
    pub(super) fn serving_mut(&mut self) -> Option<&mut Worker> {
        let mut all = self.0.iter_mut().map(|held| &mut held.worker);
        all.find(|worker| !worker.is_replaced())
    }

    /// The worker at `index` serves again, for the one in its place is dead, or another has come since.
    fn serves_again(&mut self, index: usize, drain_timeout: Duration) {
        let mut held = self.0.remove(index);
        (held.leaves, held.deadline, held.patience) = (false, None, None);
        crate::log::worker_serves_again(&held.worker);
        // The one that is dead may not have been reaped yet.
        let others = self.0.iter().map(|held| &held.worker);
        let mut others = others.filter(|other| !other.is_replaced() && other.pid() != held.heir);
        if let Some(next) = others.next() {
            held.hand_over(next, drain_timeout);
        }
        self.0.insert(index, held);
    }

    /// Passes a signal on: to the one that serves, or to all.
    pub(super) fn signal(&self, kind: SignalKind, all: bool) {
        let meant = self
            .0
            .iter()
            .filter(|held| all || !held.worker.is_replaced());
        meant.for_each(|held| held.worker.signal(kind.as_raw()));
    }

    /// All of them are to end.
    pub(super) fn expect_the_end(&mut self, drain_timeout: Duration) {
        for held in &mut self.0 {
            held.deadline.get_or_insert_with(|| after(drain_timeout));
        }
    }

    /// Waits, without bound, for what any of them does. Cancel safe.
    pub(super) async fn news(&mut self, drain_timeout: Duration) -> News {
        loop {
            let times = self
                .0
                .iter()
                .flat_map(|held| [held.deadline, held.patience]);
            let deadline = times.flatten().min();
            let (index, news) = tokio::select! {
                biased;
                news = first(&mut self.0) => news,
                () = at(deadline) => {
                    self.kill_late();
                    continue;
                }
            };
            let held = &mut self.0[index];
            let serves = !held.worker.is_replaced();
            match news {
                Ok(WorkerNews::AsksForRestart(request)) if serves => {
                    return News::AsksForRestart(request);
                }
                Ok(WorkerNews::AsksForRestart(request)) => {
                    request.failed("another worker serves by now; ask that one");
                }
                Ok(WorkerNews::Leaves) => {
                    held.leaves = true;
                    held.patience = None;
                    if serves {
                        return News::Leaves;
                    }
                }
                Ok(WorkerNews::ServesAgain) => {
                    self.serves_again(index, drain_timeout);
                    return News::ServesAgain;
                }
                Ok(WorkerNews::Ended(status)) => return self.ended(index, Ok(status)),
                Err(error) => return self.ended(index, Err(error)),
                Ok(_) => {}
            }
        }
    }

    fn ended(&mut self, index: usize, status: io::Result<ExitStatus>) -> News {
        let held = self.0.remove(index);
        News::Ended(End {
            name: held.worker.to_string(),
            status,
            served: !held.worker.is_replaced(),
            on_purpose: held.leaves,
            uptime: held.since.elapsed(),
        })
    }

    fn kill_late(&mut self) {
        let now = Instant::now();
        for held in &mut self.0 {
            if held.deadline.is_some_and(|deadline| deadline <= now) {
                crate::log::worker_killed(&held.worker);
                held.worker.signal(KILL);
                held.deadline = None;
            }
            if held.patience.is_some_and(|patience| patience <= now) {
                held.worker.terminate();
                held.patience = None;
            }
        }
    }
}

/// It can be sent, though not listened for.
const KILL: i32 = rustix::process::Signal::KILL.as_raw();

/// What the first of them does, and which one it is; for ever if there is none.
async fn first(workers: &mut [Held]) -> (usize, io::Result<WorkerNews>) {
    let news = workers.iter_mut().map(|held| Box::pin(held.worker.news()));
    let mut news: Vec<_> = news.collect();
    poll_fn(|cx| {
        let mut polled = news.iter_mut().map(|one| one.as_mut().poll(cx)).enumerate();
        let ready = polled.find_map(|(index, one)| match one {
            Poll::Ready(news) => Some((index, news)),
            Poll::Pending => None,
        });
        ready.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// For ever without one.
pub(super) async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A point in time that is there also if somebody means never.
pub(super) fn after(duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(86400 * 365 * 30);
    Instant::now() + duration.min(FAR)
}
