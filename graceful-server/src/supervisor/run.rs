//! The order of events of a supervisor (law 10).

use std::{
    future::{Future, pending},
    io,
    os::unix::process::ExitStatusExt,
    pin::Pin,
    process::ExitStatus,
    time::Duration,
};

use graceful_listener::{
    HandoffError, HandoffListener, Handover, InheritedState, RestartRequest, SuccessorBuilder,
    Worker, ready,
};
use graceful_signal::SignalKind;
use tokio::time::Instant;

use super::{
    Supervisor,
    manager::Manager,
    orphans::Orphans,
    signals::{Order, Orders, came_from_the_terminal},
    workers::{End, News, Workers, after, at},
};
use crate::{log, restart::chain};

/// A worker on its way: started, ready, committed. The outer error is that of our own predecessor.
type Attempt = Pin<Box<dyn Future<Output = Result<Outcome, HandoffError>> + Send>>;
type Outcome = Result<Worker, HandoffError>;
/// Whether the program is fit for an upgrade.
type Examination = Pin<Box<dyn Future<Output = Result<(), HandoffError>> + Send>>;

pub(super) async fn run(supervisor: Supervisor) -> io::Result<u8> {
    let mut orders = Orders::listen()?;
    let mut orphans = Orphans::of_this_process()?;
    let workers = Workers::inherited(supervisor.drain_timeout);
    let mut run = Run::new(supervisor, workers);
    match run.workers.serving() {
        // Executed anew: whoever had the listeners before was this process.
        Some(worker) => {
            log::upgraded(worker);
            ready().await?;
            run.has_served = true;
        }
        None => run.start(),
    }
    while !run.is_over() {
        let Run {
            supervisor,
            attempt,
            examination,
            workers,
            manager,
            retry,
            ..
        } = &mut run;
        tokio::select! {
            biased;
            order = orders.next() => run.obey(order),
            outcome = next(attempt) => run.attempted(outcome?),
            found = next(examination) => run.upgrade(found),
            news = workers.news(supervisor.drain_timeout) => run.hear(news),
            () = at(*retry) => run.start(),
            () = manager.beat() => {}
            () = orphans.wait() => orphans.reap(&run.workers.pids()),
        }
    }
    Ok(run.status)
}

/// For ever without one. Cancel safe.
async fn next<T>(future: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

/// A supervisor between its first worker and its last.
struct Run {
    supervisor: Supervisor,
    workers: Workers,
    manager: Manager,
    generation: u32,
    attempt: Option<Attempt>,
    /// A signal asked for a restart meanwhile: it is done after that.
    again: bool,
    /// The worker's request that it answers.
    asked: Option<RestartRequest>,
    examination: Option<Examination>,
    /// When the next worker is started after a crash.
    retry: Option<Instant>,
    stopping: bool,
    /// Whether a worker serves, or has served.
    has_served: bool,
    /// How the last worker that served ended.
    status: u8,
}

impl Run {
    fn new(supervisor: Supervisor, workers: Workers) -> Self {
        Self {
            supervisor,
            generation: workers.next_generation(),
            workers,
            manager: Manager::from_env(),
            attempt: None,
            again: false,
            asked: None,
            examination: None,
            retry: None,
            stopping: false,
            has_served: false,
            status: 0,
        }
    }

    fn is_over(&self) -> bool {
        self.stopping && self.workers.is_empty()
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Restart => self.restart(None),
            Order::Stop(kind) => self.stop(kind),
            Order::Pass(kind) => self.workers.signal(kind, false),
            Order::Upgrade => self.examine(),
        }
    }

    /// Begins to start a worker, which takes over when it is ready.
    fn start(&mut self) {
        self.retry = None;
        let listeners = self.supervisor.listeners.iter();
        let worker = self.supervisor.worker.clone().worker(self.generation);
        let worker = match self.workers.serving() {
            Some(serving) => worker.relieves(serving),
            None => worker,
        };
        let worker = listeners.fold(worker, |worker, listener| worker.carry(listener));
        let state = self.workers.serving_mut().and_then(Worker::ask_state);
        self.attempt = Some(Box::pin(async move {
            let started = match state {
                Some(state) => with_state(worker, state).await,
                None => Ok(worker),
            };
            let successor = match started {
                Ok(worker) => worker.start(&[]).await,
                Err(error) => Err(error),
            };
            let successor = match successor {
                Ok(successor) => successor,
                Err(error) => return Ok(Err(error)),
            };
            // Whoever had the listeners before us lets go now that there is somebody to serve.
            ready().await?;
            Ok(successor.commit().await.and_then(Handover::into_worker))
        }));
    }

    /// `asked` is whoever waits for the outcome. Nobody does with a signal, which is not refused for one that is under way.
    fn restart(&mut self, asked: Option<RestartRequest>) {
        if self.attempt.is_some() && asked.is_none() {
            self.again = true;
            return;
        }
        let refusal = match self.stopping {
            true => Some("the service is stopping"),
            false => self
                .attempt
                .is_some()
                .then_some("a worker is being started already; wait for it"),
        };
        if let Some(refusal) = refusal {
            if let Some(asked) = asked {
                asked.failed(refusal);
            }
            return match self.stopping {
                true => log::not_restarted_at_stop(),
                false => log::worker_not_started(refusal),
            };
        }
        self.asked = asked;
        if self.workers.serving().is_some() {
            self.manager.restarting();
        }
        self.start();
    }

    fn attempted(&mut self, outcome: Outcome) {
        self.attempt = None;
        self.conclude(outcome);
        if std::mem::take(&mut self.again) {
            self.restart(None);
        }
    }

    fn conclude(&mut self, outcome: Outcome) {
        let asked = self.asked.take();
        match outcome {
            Ok(worker) => {
                // Before that one is told to end, which is the one that was asked.
                if let Some(asked) = asked {
                    asked.serves(worker.pid());
                }
                self.has_served = true;
                self.generation = self.generation.saturating_add(1);
                log::worker_serves(&worker);
                self.manager.serving(format!("{worker} serves"));
                self.workers.replace(worker, self.supervisor.drain_timeout);
            }
            Err(error) => {
                if let Some(asked) = asked {
                    asked.failed(chain(&error));
                }
                log::worker_not_started(&error);
                match self.workers.serving() {
                    Some(worker) => {
                        let status = format!("{worker} serves on: {error}");
                        self.manager.serving(status);
                    }
                    None => {
                        self.status = error.exit_status().map_or(1, code);
                        match self.has_served {
                            true => self.crashed(Duration::ZERO),
                            // Nobody waits in a queue yet, and the next one has the same configuration.
                            false => {
                                log::no_first_worker();
                                self.begin_to_stop();
                            }
                        }
                    }
                }
            }
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::AsksForRestart(request) => {
                self.restart(Some(request).filter(RestartRequest::is_awaited));
            }
            News::Leaves if self.stopping => self.supervisor.listeners.clear(),
            // It was stopped behind our back, or somebody took over from it, who then has the paths.
            News::Leaves => {
                self.supervisor
                    .listeners
                    .iter()
                    .for_each(HandoffListener::disown);
                self.begin_to_stop();
                self.supervisor.listeners.clear();
            }
            News::ServesAgain if self.stopping => {
                self.workers.signal(SignalKind::terminate(), false);
                self.workers.expect_the_end(self.supervisor.drain_timeout);
            }
            News::ServesAgain => {
                if let Some(worker) = self.workers.serving() {
                    self.manager.serving(format!("{worker} serves"));
                }
            }
            News::Ended(end) => self.ended(end),
        }
    }

    fn ended(&mut self, end: End) {
        log::worker_ended(&end.name, &end.status, end.served && !self.stopping);
        if !end.served {
            return;
        }
        self.status = end.status.map_or(1, code);
        if !self.stopping && !end.on_purpose {
            self.crashed(end.uptime);
        }
    }

    /// Nobody serves. The listeners stay open, and somebody will.
    fn crashed(&mut self, served: Duration) {
        let pause = self.supervisor.backoff.crashed(served);
        let crashes = self.supervisor.backoff.crashes();
        if self
            .supervisor
            .max_crashes
            .is_some_and(|most| crashes >= most)
        {
            log::gave_up(crashes);
            // One that serves again goes on to its own end.
            if self.workers.serving().is_none() {
                self.begin_to_stop();
            }
        } else if self.attempt.is_none() {
            log::worker_follows(crashes, pause);
            let who = self.workers.serving().map(ToString::to_string);
            let who = who.unwrap_or_else(|| "nobody".to_owned());
            let status = format!("{who} serves, crash {crashes} in a row: the next worker follows");
            self.manager.crashed(status);
            self.retry = Some(after(pause));
        }
    }

    /// The first signal is for the one that serves; those that were replaced have been told before. Further ones are for
    /// all.
    fn stop(&mut self, kind: SignalKind) {
        let again = self.stopping;
        self.begin_to_stop();
        if !came_from_the_terminal(kind) {
            self.workers.signal(kind, again);
        }
    }

    /// No worker is started any more. The worker is to be the last who has a TCP listener open: what comes after its
    /// last accept is then refused. The path of a Unix listener is removed when the worker says that it leaves.
    fn begin_to_stop(&mut self) {
        self.stopping = true;
        self.manager.stopping();
        self.attempt = None;
        if let Some(asked) = self.asked.take() {
            asked.failed("the service is stopping");
        }
        self.retry = None;
        let listeners = std::mem::take(&mut self.supervisor.listeners).into_iter();
        let is_tcp = |listener: &HandoffListener| listener.local_addr().as_tcp().is_some();
        let (tcp, others) = listeners.partition(is_tcp);
        self.supervisor.listeners = others;
        match self.workers.serving() {
            Some(worker) => worker.leave_to(tcp),
            None => drop(tcp),
        }
        self.workers.expect_the_end(self.supervisor.drain_timeout);
    }

    /// Begins to look whether the program is fit to take this one's place, from which there is no way back.
    fn examine(&mut self) {
        let worker = self.supervisor.worker.clone();
        self.examination = Some(Box::pin(async move { worker.examine().await }));
    }

    /// Returns only if it failed.
    fn upgrade(&mut self, found: Result<(), HandoffError>) {
        self.examination = None;
        // The next program takes its first worker to be the first of all if it is given none.
        if self.stopping || self.attempt.is_some() || self.workers.serving().is_none() {
            return log::not_upgraded(
                "no worker serves, one is being started, or the service is stopping",
            );
        }
        let listeners: Vec<_> = self.supervisor.listeners.iter().collect();
        let exec = || self.supervisor.worker.exec(&listeners, &self.workers.all());
        log::not_upgraded(found.err().unwrap_or_else(exec));
    }
}

/// How long the worker that serves may take to give its state: one that hangs is to be replaced all the same.
const STATE: Duration = Duration::from_secs(5);

/// The next worker with the state of the one that serves; or why that is against it.
async fn with_state(
    worker: SuccessorBuilder,
    state: impl Future<Output = Result<Vec<(String, InheritedState)>, HandoffError>>,
) -> Result<SuccessorBuilder, HandoffError> {
    let Ok(state) = tokio::time::timeout(STATE, state).await else {
        log::no_state("it says nothing");
        return Ok(worker);
    };
    match state {
        Ok(blobs) => Ok(blobs.into_iter().fold(worker, |worker, (name, state)| {
            worker.state(name, state.schema, move || state.bytes.clone())
        })),
        Err(error) if error.is_vetoed() => Err(error),
        Err(error) => {
            log::no_state(error);
            Ok(worker)
        }
    }
}

/// As a shell would say it.
fn code(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| Some(128 + status.signal()?));
    number
        .and_then(|number| u8::try_from(number).ok())
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_is_the_workers_or_what_a_shell_says_of_its_signal() {
        assert_eq!(code(ExitStatus::from_raw(0)), 0);
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
    }
}
