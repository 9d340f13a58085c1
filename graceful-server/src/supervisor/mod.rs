//! A process with a stable number that keeps the listeners and has another one serve. Keeps laws 10 (the listeners are
//! its own, whatever becomes of a worker) and 13 (it returns an exit status, and `main` decides).

mod backoff;
mod manager;
mod orphans;
mod run;
mod signals;
mod workers;

use std::{io, time::Duration};

use graceful_listener::{HandoffListener, Successor, SuccessorBuilder};

use self::backoff::Backoff;

/// Keeps the listeners and has a *worker* serve: the same program with the same command line, as a child of its own.
///
/// For wherever the number of the process must not change in a restart: as PID 1 of a container, under supervisord,
/// runit, s6 or daemontools. In order:
///
/// 1. [`run`](Self::run) starts the worker, which finds the listeners as from a predecessor (`from_env`), says READY and
///    gets COMMIT; the worker knows by [`is_worker`](Self::is_worker) that it is to serve and not to supervise.
/// 2. At SIGHUP the next worker is started beside the one that serves, with the state that this one gives
///    ([`SuccessorBuilder::state`], its TLS session keys among it). Once it is ready it takes over, and the old one hands
///    over to it as without a supervisor: idle connections [move](crate::Serve::move_idle_connections), the rest drains,
///    and if the new one dies meanwhile the old one serves again. Nobody is refused; if the new one fails, nothing has
///    changed. A worker that is itself asked to restart passes that on to here, and hears what becomes of it. A SIGHUP that
///    comes meanwhile is done afterwards.
/// 3. If the worker crashes, the next one is started after a pause: 100 ms after the first crash, twice as long after
///    each further one, 30 s at the most, and from the beginning once a worker has served for 30 s
///    ([`backoff`](Self::backoff)). A worker that does not become ready counts as one that crashed. The
///    listeners stay open meanwhile, so clients wait in the queue instead of being refused. SIGHUP ends the pause. Not so
///    with the very first worker: if that does not become ready, `run` returns its exit status.
/// 4. SIGTERM, SIGINT and SIGQUIT are passed on to the worker; when it has ended, `run` returns its exit status, or
///    128 + n if signal n ended it. The second one of them is also for replaced workers that still drain. SIGUSR1 is
///    passed on. A worker that stops on its own initiative, and says so ([`leave`](graceful_listener::leave)), ends the
///    supervisor in the same way.
/// 5. At SIGUSR2 the supervisor executes its own program anew in its place, to be upgraded itself: same process number,
///    same listeners, and the workers go on undisturbed. If the program is missing or not executable, it says so and goes
///    on. There is no way back once the new program runs, so restart the worker with it first (SIGHUP), which has one.
/// 6. Where a service manager listens (`NOTIFY_SOCKET`), the supervisor says READY when the first worker serves, RELOADING
///    and READY around a restart, STOPPING, and that it is alive. The workers say nothing.
/// 7. As PID 1 it reaps the orphans that the kernel gives it.
///
/// # What is not covered
///
/// A worker that is no [`serve`](crate::serve), or of an earlier release, is told to go by SIGTERM: no state travels then
/// and no connection moves. One that hangs is replaced without its state, after five seconds. Between the last worker of a
/// supervisor that died and the first of the next one nothing moves either. On TCP, clients that connect in the instant between the last accept of a stop and the end of the worker are reset if that
/// does not know that it is the last to have the listener: another worker drains still, one has crashed, the listener came from a service manager,
/// or the worker was told to stop by somebody else.
/// Signals that come within the first milliseconds, before `run` is polled, have their default action. If the supervisor
/// itself is killed, its worker goes on to serve until it is stopped; as PID 1, it goes with the container. Killed in a
/// restart, it leaves the worker that served before COMMIT, or the new one after it.
///
/// Under systemd a supervisor is not needed: a server that hands over by itself tells systemd about it.
///
/// # Examples
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use axum::{Router, routing::get};
/// use graceful_server::{HandoffListener, ShutdownSignal, Supervisor, serve};
///
/// #[tokio::main]
/// async fn main() -> std::io::Result<ExitCode> {
///     let listener = HandoffListener::from_env_or_bind("0.0.0.0:8080")?;
///     if !Supervisor::is_worker() {
///         return Ok(Supervisor::new([listener]).run().await?.into());
///     }
///     let app = Router::new().route("/", get(|| async { "hello" }));
///     let report = serve(listener, app).stop_on(ShutdownSignal::terminate()?).await?;
///     Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
/// }
/// ```
///
/// # References
/// [`pid_namespaces(7)`](https://man7.org/linux/man-pages/man7/pid_namespaces.7.html)
#[derive(Debug)]
#[must_use = "a supervisor does nothing until it runs"]
pub struct Supervisor {
    listeners: Vec<HandoffListener>,
    worker: SuccessorBuilder,
    backoff: Backoff,
    max_crashes: Option<u32>,
    drain_timeout: Duration,
}

impl Supervisor {
    /// Keeps `listeners`: all that the worker is to find. Bind or inherit them as the worker itself will ask for them.
    pub fn new(listeners: impl IntoIterator<Item = HandoffListener>) -> Self {
        Self {
            listeners: listeners.into_iter().collect(),
            worker: Successor::builder(),
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(30)),
            max_crashes: None,
            drain_timeout: Duration::from_secs(600),
        }
    }

    /// Whether this process was started by a supervisor, and is to serve.
    pub fn is_worker() -> bool {
        graceful_listener::is_worker()
    }

    /// How workers are started, if not as this process was: another program, other arguments, another time limit, a check
    /// before, more to [`carry`](SuccessorBuilder::carry).
    pub fn worker(mut self, worker: SuccessorBuilder) -> Self {
        self.worker = worker;
        self
    }

    /// How long to wait before a worker that crashed is followed by the next: `first` after the first crash, twice as long
    /// after each further one, at most `longest`. A worker that has served for `longest` ends the row.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = Backoff::new(first, longest);
        self
    }

    /// Gives up after so many crashes in a row: no further worker is started, and once none serves, [`run`](Self::run)
    /// returns how the last one ended and the listeners are closed. If not set it never does, once a worker has served: a
    /// first worker that does not become ready is not followed by another.
    pub fn max_crashes(mut self, crashes: u32) -> Self {
        self.max_crashes = Some(crashes);
        self
    }

    /// How long a worker may take to drain, once it is replaced or stopped, before it is killed; ten minutes if not set.
    /// Its own [`Grace`](crate::Grace) should end it long before.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Supervises until the service is stopped, and returns the exit status for this process: that of the worker, or
    /// 128 + n if signal n ended it; 0 if it was stopped before a worker served; 1 if the first one was late or broke the protocol.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the workers to themselves. A worker that is just being started is ended.
    ///
    /// # Errors
    ///
    /// If signals cannot be caught, or the predecessor of this process itself, if it has one, did not let go.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn run(self) -> io::Result<u8> {
        run::run(self).await
    }
}
