//! How a successor is started, or let in, or executed in place of this process.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Successor;
use crate::carried::Carried;
use crate::error::HandoffError;
use crate::handoff::attempt::Attempt;
use crate::handoff::candidate::Candidate;
use crate::handoff::exec::exec;
use crate::handoff::plan::{Plan, Veto};
use crate::handoff::preflight;
use crate::handoff::state::Source;
use crate::handoff::worker::Worker;
use crate::listener::HandoffListener;
use crate::protocol::machine::State;
use crate::protocol::record::CONTROL;

/// How to start the next process.
///
/// What is not said is as this process was started: the program by the path that was recorded at
/// the first use of this crate (so a program that was replaced there by rename is the new one),
/// the same arguments, the same environment but for the variables that describe how this process
/// itself was started, and the standard input, output and error of this process.
#[derive(Clone, Debug)]
pub struct SuccessorBuilder(pub(in crate::handoff) Plan);

impl SuccessorBuilder {
    /// Starts another program.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.program = Some(path.into());
        self
    }

    /// Adds an argument. The first one takes the place of the arguments of this process.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.0.args.get_or_insert_default().push(arg.into());
        self
    }

    /// Sets arguments, as [`arg`](Self::arg) does one by one. An empty list means none.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.0
            .args
            .get_or_insert_default()
            .extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable of the successor.
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.0.env.push((key.into(), value.into()));
        self
    }

    /// How long the successor may take to become ready; 60 seconds if not set. It may ask for
    /// more with [`extend`](crate::extend), up to ten times as much.
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.0.ready_timeout = timeout;
        self
    }

    /// Hands over something else beside the listeners: a [`HandoffUdp`](crate::HandoffUdp), a
    /// [`HandoffFd`](crate::HandoffFd), or a listener that is not among those of
    /// [`start`](Self::start). It stays open here as long as the builder does.
    pub fn carry(mut self, what: impl Into<Carried>) -> Self {
        self.0.carried.push(what.into());
        self
    }

    /// Has the program check itself before it is started as a successor: it is run with these
    /// arguments alone (`--check-config`), in the successor's environment, without input or output.
    /// An exit status of 0 says that it may be started. Any other, or none within the
    /// [`ready_timeout`](Self::ready_timeout), ends the attempt, and the end of what it said on
    /// standard error is in the error.
    pub fn check<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.0.check = Some(args.into_iter().map(Into::into).collect());
        self
    }

    /// Asks `veto` at the beginning of each attempt, in the task that awaits it, and gives up with
    /// the reason that it returns: a migration runs, the machine is short of memory. A panic in it
    /// counts as a reason. Of several, all are asked until one is against it.
    pub fn veto(mut self, veto: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.0.vetoes.push(Veto(Arc::new(veto)));
        self
    }

    /// Hands application state over under `name`, in the form that `schema` numbers: what the next
    /// process cannot build anew, such as counters, a cache's keys, session tickets.
    ///
    /// `make` is called in each attempt, right before the successor is started, in the task that
    /// awaits [`start`](Self::start); so it should not take long, and what changes afterwards is
    /// not in it. The successor reads it with [`inherited_state`](crate::inherited_state), where
    /// the rule for schemas stands, and may [`decline`](crate::decline) it. All state together may
    /// have 16 MiB; what is larger belongs into a file or a memfd. Of several of one name the
    /// last one is taken.
    pub fn state(
        mut self,
        name: impl Into<String>,
        schema: u32,
        make: impl Fn() -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        self.0.states.push(Source {
            name: name.into(),
            schema,
            make: Arc::new(make),
        });
        self
    }

    /// Makes the successor a *worker* of the given generation, and this process its supervisor:
    /// one that keeps the listeners, serves nobody and does not end.
    ///
    /// So it may be PID 1, the paths of Unix listeners remain its own to remove, and once the
    /// worker has taken over, [`into_worker`](crate::Handover::into_worker) lets the next one be started.
    /// `graceful-server` has the whole of it as `Supervisor`.
    pub fn worker(mut self, generation: u32) -> Self {
        self.0.worker = Some(generation);
        self
    }

    /// Names the [`worker`](Self::worker) that serves until this one does, so that one of the two serves
    /// and not both if the supervisor dies meanwhile. Before COMMIT the new one then leaves the service to
    /// that one, and ends. After COMMIT it has that one hand over to it ([`News::Replaced`](crate::News::Replaced)),
    /// once it asks for [`news`](crate::news), if the supervisor has not lived to
    /// ([`Worker::hand_over_to`]).
    pub fn relieves(mut self, worker: &Worker) -> Self {
        self.0.relieves = worker.relieved();
        self
    }

    /// Looks whether the program is there and may be executed, and runs its [`check`](Self::check).
    /// [`start`](Self::start) does so itself; it is for use before [`exec`](Self::exec).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the check.
    ///
    /// # Errors
    ///
    /// [`is_spawn_failed`](HandoffError::is_spawn_failed) and
    /// [`is_check_failed`](HandoffError::is_check_failed).
    pub async fn examine(&self) -> Result<(), HandoffError> {
        preflight::usable(&self.0).await
    }

    /// Executes the program in place of this process, which keeps its number, its children and
    /// what is handed over: the listeners, what is [carried](Self::carry), and `workers`, which go
    /// on undisturbed. Returns only if that failed; then everything is as before.
    ///
    /// The new program finds the listeners as from a predecessor that has committed, and its
    /// workers with [`Worker::inherited`]. There is no way back once it runs, so
    /// [`examine`](Self::examine) it before. Signals that come between the exec and
    /// the moment at which the new program catches them have their default action.
    ///
    /// # Errors
    ///
    /// [`is_busy`](HandoffError::is_busy) while an attempt is under way or rolled back, and
    /// [`is_spawn_failed`](HandoffError::is_spawn_failed).
    ///
    /// # References
    ///
    /// [`execve(2)`](https://man7.org/linux/man-pages/man2/execve.2.html)
    pub fn exec(&self, listeners: &[&HandoffListener], workers: &[&Worker]) -> HandoffError {
        let listeners = listeners.iter().map(|listener| Carried::from(*listener));
        let carried = listeners.chain(self.0.carried.iter().cloned());
        exec(&self.0, carried.collect(), workers)
    }

    /// Starts the successor, gives it the listeners and waits until it is ready.
    ///
    /// The program is started, receives its duplicates of the listeners, and does whatever it
    /// does at its start. This process serves meanwhile, and the successor accepts nothing. When
    /// it says that it is ready, the future resolves; [`commit`](Successor::commit) makes it
    /// take over. If it ends, hangs or breaks the protocol, it is ended (SIGTERM, two seconds,
    /// SIGKILL), reaped, and everything is as before.
    ///
    /// Pass every listener of the process: one that is not passed is bound again by the
    /// successor, and that fails because this process still holds it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future rolls back like dropping the [`Successor`].
    ///
    /// # Errors
    ///
    /// [`is_busy`](HandoffError::is_busy), [`is_handed_over`](HandoffError::is_handed_over),
    /// [`is_vetoed`](HandoffError::is_vetoed), [`is_check_failed`](HandoffError::is_check_failed),
    /// [`is_would_kill_container`](HandoffError::is_would_kill_container),
    /// [`is_spawn_failed`](HandoffError::is_spawn_failed), [`is_exited`](HandoffError::is_exited),
    /// [`is_timed_out`](HandoffError::is_timed_out), [`is_aborted`](HandoffError::is_aborted),
    /// [`is_bad_state`](HandoffError::is_bad_state) and
    /// [`is_protocol`](HandoffError::is_protocol) tell why there is none. After each of them this
    /// process serves as before, and the next attempt may succeed.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn start(&self, listeners: &[&HandoffListener]) -> Result<Successor, HandoffError> {
        self.attempt(listeners, None).await
    }

    /// Makes `candidate` the successor: a process that somebody else started, and that asks to
    /// take over at the control socket ([`take_over`](crate::take_over)).
    ///
    /// As with [`start`](Self::start) it receives the listeners and the state, and this process
    /// serves until [`commit`](Successor::commit). What concerns the start of a program has no
    /// meaning here: path, arguments, environment, [`check`](Self::check), and that this process
    /// must not be PID 1. If it fails it is told why, but not ended: that is for whoever started
    /// it. Pass the [`ControlSocket`](crate::ControlSocket)'s listener with the others.
    ///
    /// It has a command line of its own, so it may have been given other addresses. If it claims
    /// none of `listeners`, the control socket apart, the attempt fails: the service would end.
    /// What is [carried](Self::carry) beside them does not count. Listeners may be added and
    /// removed as in any hand-over, as long as one is kept; to move a service to another address
    /// altogether, have it listen on both for one generation.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future rolls back, and the candidate is told.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start), and [`is_nothing_claimed`](HandoffError::is_nothing_claimed). Of a candidate that ended the exit status is not known.
    pub async fn adopt(
        &self,
        candidate: Candidate,
        listeners: &[&HandoffListener],
    ) -> Result<Successor, HandoffError> {
        self.attempt(listeners, Some(candidate)).await
    }

    async fn attempt(
        &self,
        listeners: &[&HandoffListener],
        candidate: Option<Candidate>,
    ) -> Result<Successor, HandoffError> {
        let serves = |(_, listener): &(u32, &&HandoffListener)| listener.name() != CONTROL;
        let service = (0..).zip(listeners).filter(serves).map(|(index, _)| index);
        let service = service.collect();
        let listeners = listeners.iter().map(|listener| Carried::from(*listener));
        let mut plan = self.0.clone();
        // The attempt holds each for as long as it may want it back, and no longer.
        let carried = listeners.chain(std::mem::take(&mut plan.carried));
        let carried = carried.map(|one| one.0).collect();
        let mut attempt = Attempt::begin(plan, carried, service, candidate)?;
        match attempt.settle().await {
            State::Ready => Ok(Successor(attempt)),
            _ => Err(attempt.cause()),
        }
    }
}
