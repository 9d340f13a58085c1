//! The handle everything else is made from: phase, connections, requests, and the drain (laws 1 and 7).
//!
//! Mechanism lives elsewhere: the atomics in `state`, the order of a stop in `drain`, who is asked to close
//! when in `sweep`.

mod beacon;
mod drain;
mod held;
mod hooks;
mod ledger;
mod pulse;
mod retire;
mod snapshot;
mod sweep;
mod timeouts;

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use graceful_signal::ShutdownSignal;
use http::response::Parts;
use tokio::{sync::watch, time::Instant};

pub(crate) use self::sweep::scatter;
pub use self::{
    beacon::Beacon,
    snapshot::{ConnInfo, Counts, RequestInfo},
    timeouts::Timeouts,
};
use crate::{
    Grace, Peer, Phase, Report,
    conn::Connection,
    contained,
    state::{Arena, Blocker, Cell},
    sync::{Mutex, lock},
};

/// The shared record of a service: its phase, its connections and the requests in flight.
///
/// Cheap to clone; every clone is the same tracker. Feed it through [`ConnTrackingLayer`] or
/// [`GracefulLayer`] (requests) and [`open`](Self::open) (connections), and let [`drain_on`](Self::drain_on)
/// run beside the server.
///
/// What is not covered: work that is neither a request nor a connection. Hold a [`Beacon`] for that.
///
/// [`ConnTrackingLayer`]: crate::ConnTrackingLayer
/// [`GracefulLayer`]: crate::GracefulLayer
#[derive(Clone)]
pub struct Tracker(Arc<Lease>);

pub(crate) struct Lease {
    arena: &'static Arena,
    born: Instant,
    silent: bool,
    progress: watch::Sender<Progress>,
    wanted: watch::Sender<Phase>,
    deadline: Mutex<Option<Instant>>,
    handed_over: AtomicBool,
    /// The stop was asked for by its signal.
    signalled: AtomicBool,
    timeouts: Mutex<Timeouts>,
    hooks: Mutex<Vec<hooks::Hook>>,
    refusal: Mutex<Option<Arc<SignRefusal>>>,
    ledger: ledger::Ledger,
    /// Requests come from connections that nobody tells this tracker of.
    loose: AtomicBool,
    /// Held by the drain that runs; the last one's outcome.
    driver: tokio::sync::Mutex<Option<Report>>,
}

type SignRefusal = dyn Fn(&mut Parts) + Send + Sync;

/// What is announced to those who wait.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    phase: Phase,
    told: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.arena.give_back();
    }
}

impl Default for Tracker {
    fn default() -> Self {
        Self::new()
    }
}

impl Tracker {
    /// A tracker of its own: nothing in it, `Serving`.
    pub fn new() -> Self {
        Self::made(false)
    }

    /// One that says nothing to logs and metrics: for connections beside those of the service, such as an operator's.
    pub fn silent() -> Self {
        Self::made(true)
    }

    fn made(silent: bool) -> Self {
        let arena = Arena::lease();
        let lease = Arc::new(Lease {
            arena,
            born: Instant::now(),
            silent,
            progress: watch::Sender::default(),
            wanted: watch::Sender::default(),
            deadline: Mutex::new(None),
            handed_over: AtomicBool::new(false),
            signalled: AtomicBool::new(false),
            timeouts: Mutex::new(Timeouts::off()),
            hooks: Mutex::new(Vec::new()),
            refusal: Mutex::new(None),
            ledger: ledger::Ledger::default(),
            loose: AtomicBool::new(false),
            driver: tokio::sync::Mutex::default(),
        });
        arena.own(Arc::downgrade(&lease));
        Self(lease)
    }

    /// The tracker that leases `arena`, if it is still there.
    pub(crate) fn of(arena: &Arena) -> Option<Self> {
        arena.owner().upgrade().map(Self)
    }

    /// The phase now. One load.
    pub fn phase(&self) -> Phase {
        self.0.arena.orders().phase()
    }

    /// Whether a successor serves. Long-lived clients are told so: a WebSocket's close code is then 1012, else 1001.
    pub fn is_handed_over(&self) -> bool {
        self.0.handed_over.load(Relaxed)
    }

    /// When the running stop cuts what is left; `None` while serving.
    pub fn deadline(&self) -> Option<Instant> {
        *lock(&self.0.deadline)
    }

    /// Waits until the phase is `phase` or a later one. Waits without bound; every clone may wait.
    ///
    /// # Cancel safety
    /// Cancel safe: phases are latched, and a later call sees the same.
    pub fn reached(&self, phase: Phase) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.progressed(move |now| now.phase >= phase)
    }

    /// Waits until clients had their idle grace: the moment to give to a foreign server's shutdown.
    ///
    /// A server that shuts down closes its idle connections at that instant, also one with a request on its
    /// way. So it must not hear of the stop before answers have said `Connection: close` for a while:
    /// `axum::serve(..).with_graceful_shutdown(tracker.told())`. Waits without bound.
    ///
    /// # Cancel safety
    /// Cancel safe, as [`reached`](Self::reached).
    pub fn told(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.progressed(|now| now.told)
    }

    /// Waits until the phase is another one than `phase`, and returns it: what a log or a status page follows. Waits
    /// without bound. A phase that comes and goes between two polls is not seen.
    ///
    /// # Cancel safety
    /// Cancel safe, as [`reached`](Self::reached).
    pub fn left(&self, phase: Phase) -> impl Future<Output = Phase> + Send + 'static + use<> {
        let left = self.progressed(move |now| now.phase != phase);
        let tracker = self.clone();
        async move {
            left.await;
            tracker.phase()
        }
    }

    fn progressed<F>(&self, enough: F) -> impl Future<Output = ()> + Send + 'static + use<F>
    where
        F: FnMut(&Progress) -> bool + Send + 'static,
    {
        let mut progress = self.0.progress.subscribe();
        let tracker = self.clone();
        async move {
            // The sender lives as long as the tracker held here.
            let _ = progress.wait_for(enough).await;
            drop(tracker);
        }
    }

    // Commands. They take effect while a drain_on runs, and at its start if given before.

    /// Begins the stop, as the signal would. Returns whether this call did it.
    pub fn begin(&self) -> bool {
        self.want(|now, wanted| (now.max(wanted) < Phase::LameDuck).then_some(Phase::LameDuck))
    }

    /// Begins the drain without lame duck: a successor serves already. Returns whether this call did it.
    pub fn hand_over(&self) -> bool {
        self.0.handed_over.store(true, Relaxed);
        self.want(|now, wanted| (now.max(wanted) < Phase::Draining).then_some(Phase::Draining))
    }

    /// Says whether a successor takes connections. While it does, those that can go there
    /// ([`Connection::set_movable`]) are neither told to close nor closed: each leaves when it is idle.
    ///
    /// Say so before [`hand_over`](Self::hand_over). When it is over, the rest has its idle grace from then on.
    pub fn set_moving(&self, moving: bool) {
        self.0.arena.order_moves(moving);
    }

    /// Goes on to the next phase now, as a further signal would. Returns whether there was one to go to.
    pub fn advance(&self) -> bool {
        self.want(|now, wanted| match now.max(wanted) {
            Phase::Serving => Some(Phase::LameDuck),
            Phase::LameDuck => Some(Phase::Draining),
            Phase::Draining => Some(Phase::Cutoff),
            Phase::Cutoff | Phase::Closed => None,
        })
    }

    /// Cuts what is left now. Returns whether this call did it.
    pub fn cutoff(&self) -> bool {
        self.want(|now, wanted| (now.max(wanted) < Phase::Cutoff).then_some(Phase::Cutoff))
    }

    /// Takes a stop back that is still in lame duck (law 1). Returns whether it was.
    pub fn resume(&self) -> bool {
        self.want(|now, wanted| {
            (now == Phase::LameDuck && wanted <= Phase::LameDuck).then_some(Phase::Serving)
        })
    }

    /// Takes a hand-over back whose successor died: Draining goes back to Serving (law 1). Returns whether it was
    /// draining, and not stopped by its signal as well. Connections that were told to go have gone or will go; new ones are served as before.
    /// Those that could [move](Self::set_moving) no longer do, and are not told to go in between.
    pub fn reclaim(&self) -> bool {
        let reclaimed = !self.0.signalled.load(Relaxed)
            && self.want(|now, wanted| {
                (now == Phase::Draining && wanted <= Phase::Draining).then_some(Phase::Serving)
            });
        if reclaimed {
            self.0.handed_over.store(false, Relaxed);
        }
        reclaimed
    }

    /// Drops every connection now, without a word to anybody: for a server that is itself dropped.
    pub fn abort(&self) {
        self.0.arena.abort();
        self.0.progress.send_replace(Progress {
            phase: Phase::Closed,
            told: true,
        });
    }

    fn want(&self, decide: impl Fn(Phase, Phase) -> Option<Phase>) -> bool {
        self.0
            .wanted
            .send_if_modified(|wanted| match decide(self.phase(), *wanted) {
                Some(phase) => {
                    *wanted = phase;
                    true
                }
                None => false,
            })
    }

    // The drain.

    /// Runs the stop: waits for `signal` (or a command), goes through the phases, returns what became of it.
    ///
    /// In order: the service is a lame duck for `grace.lame_duck`, it drains until nothing is left or the deadline,
    /// it cuts what is left. Each further delivery of `signal` goes on to the next phase at once; the third cuts.
    /// Returns when nothing is alive that this tracker knows of (law 7): no connection, no request, no [`Beacon`].
    ///
    /// While it waits it also keeps the tracker's clock and enforces its [`Timeouts`], so run it beside the server
    /// from the start: `tokio::spawn(tracker.drain_on(signal, grace))`. Only one runs at a time; a second one waits
    /// for the first and returns the same report.
    ///
    /// On Linux the clock is a descriptor in the runtime's reactor (timerfd_create(2)), for a pending timer makes each sleep of
    /// the runtime dearer; in a runtime without I/O, and elsewhere, it is a timer.
    ///
    /// # Cancel safety
    /// Dropped midway, the phase stays where it is and nobody enforces the deadline until a new call does.
    pub fn drain_on(
        &self,
        signal: ShutdownSignal,
        grace: Grace,
    ) -> impl Future<Output = Report> + Send + 'static + use<> {
        drain::run(self.clone(), signal, grace)
    }

    /// [`begin`](Self::begin)s and runs the stop: [`drain_on`](Self::drain_on) with a signal that has fired.
    ///
    /// # Cancel safety
    /// As [`drain_on`](Self::drain_on).
    pub fn drain(&self, grace: Grace) -> impl Future<Output = Report> + Send + 'static + use<> {
        self.begin();
        drain::run(self.clone(), ShutdownSignal::never(), grace)
    }

    /// Runs `hook` whenever `phase` begins, for `bound` at the most; `label` names it in the report.
    ///
    /// At `LameDuck` stop what brings new work (a queue's consumer), at `Draining` what serves it. These run side by side
    /// and hold the drain like a [`Beacon`]. Without a lame duck its hooks run when draining begins. Hooks of `Closed` run
    /// when nothing is left, one after the other, the last registered first: flush what requests have written to.
    ///
    /// While the shutdown waits for a hook, the log names it every five seconds. A hook that does not end within its
    /// bound, or before the end of the cutoff, is dropped. A hook that panics ends nothing else: the other hooks run, and the report is returned. Either way its
    /// label is in [`Report::beacons`]; a panic is logged, and is in [`Report::panics`].
    pub fn on<F, Fut>(&self, phase: Phase, label: impl Into<String>, bound: Duration, hook: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        lock(&self.0.hooks).push(hooks::Hook::new(phase, label.into(), bound, hook));
    }

    // What there is.

    /// Takes a connection into the tracker: call it right after `accept`, before any handshake or spawn (law 2).
    pub fn open(&self, peer: impl Into<Peer>) -> Connection {
        Connection::new(self.0.arena.open(peer.into()))
    }

    /// Takes a connection into the tracker that another process had, which has begun `requests` on it: with some it is
    /// idle at once, where a fresh one is new.
    pub fn adopt(&self, peer: impl Into<Peer>, requests: u64) -> Connection {
        let part = self.0.arena.open(peer.into());
        part.cell().carry(requests);
        Connection::new(part)
    }

    /// Holds the drain while it lives, for work that is not a request. `label` names it in the report.
    pub fn beacon(&self, label: impl Into<String>) -> Beacon {
        self.hold(Blocker::Guard(label.into()))
    }

    fn hold(&self, blocker: Blocker) -> Beacon {
        Beacon::new(self.0.arena, blocker)
    }

    /// Requests in flight: begun and not let go with their last body byte. A scan.
    pub fn in_flight(&self) -> usize {
        self.0.arena.in_flight()
    }

    /// Connections by state. A scan.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.0.arena.walk(|cell| counts.add(cell.state()));
        counts
    }

    /// One record per connection. Connections that come or go meanwhile may or may not be in it.
    pub fn snapshot(&self) -> Vec<ConnInfo> {
        let mut connections = Vec::new();
        self.snapshot_into(&mut connections);
        connections
    }

    /// [`snapshot`](Self::snapshot) into a buffer that is emptied first and can be used again.
    pub fn snapshot_into(&self, connections: &mut Vec<ConnInfo>) {
        connections.clear();
        // One look at the clock, which costs as much as the rest of a record.
        let now = self.now_ms();
        self.0.arena.walk(|cell| connections.push(info(cell, now)));
    }

    /// The requests that wait, the oldest first. One that is answered in one go never waits and is never seen here.
    pub fn requests(&self) -> Vec<RequestInfo> {
        let mut requests = Vec::new();
        self.0.arena.show_parked(|line| requests.push(line.into()));
        requests.sort_by_key(|request: &RequestInfo| std::cmp::Reverse(request.age));
        requests
    }

    /// Connections opened and requests begun since the start.
    pub fn totals(&self) -> (u64, u64) {
        self.0.arena.totals()
    }

    /// Whether answers say `x-envoy-immediate-health-check-fail` from lame duck on, so that an Envoy in front sends its
    /// next request elsewhere without waiting for a health check. Off for a new tracker.
    ///
    /// # References
    /// [Envoy, router filter, HTTP headers](https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-immediate-health-check-fail)
    pub fn set_tell_envoy(&self, tell: bool) {
        self.0.arena.set_tell_envoy(tell);
    }

    /// Has `sign` add to the head of each refusal: the answer that the cutoff gives in the place of a handler that has none, a 503
    /// or gRPC's status 14. For headers that every answer of the service has, since under `graceful_server::serve` no layer of
    /// the service sees that one. An answer that has begun is no refusal. A second `sign` replaces the first, from the next
    /// refusal on. It runs where the request is polled, so it must not block. If it panics, the panic is logged and in the
    /// report, and the client gets the refusal as it is then.
    ///
    /// ```
    /// # let tracker = graceful_layer::Tracker::new();
    /// tracker.sign_refusals(|answer| {
    ///     let name = http::HeaderValue::from_static("shop");
    ///     answer.headers.insert(http::header::SERVER, name);
    /// });
    /// ```
    pub fn sign_refusals(&self, sign: impl Fn(&mut Parts) + Send + Sync + 'static) {
        *lock(&self.0.refusal) = Some(Arc::new(sign));
    }

    pub(crate) fn refused(&self, answer: &mut Parts) {
        let sign = lock(&self.0.refusal).clone();
        if let Some(sign) = sign {
            contained::call(self, "sign_refusals", || sign(answer));
        }
    }

    /// Sets how long connections may take in normal service; off for a new tracker.
    pub fn set_timeouts(&self, timeouts: Timeouts) {
        *lock(&self.0.timeouts) = timeouts;
    }

    pub(crate) fn arena(&self) -> &'static Arena {
        self.0.arena
    }

    /// From now on requests are counted whose connections this tracker does not see.
    pub(crate) fn expect_loose_requests(&self) {
        self.0.loose.store(true, Relaxed);
    }

    fn has_loose_requests(&self) -> bool {
        self.0.loose.load(Relaxed)
    }

    fn timeouts(&self) -> Timeouts {
        *lock(&self.0.timeouts)
    }

    fn now_ms(&self) -> u32 {
        // Wraps after 49 days, like everything it is compared with.
        self.0.born.elapsed().as_millis() as u32
    }
}

fn info(cell: &Cell, now: u32) -> ConnInfo {
    ConnInfo {
        id: cell.id(),
        peer: cell.peer(),
        listener: cell.listener(),
        state: cell.state(),
        http2: cell.is_http2(),
        age: Duration::from_millis(now.saturating_sub(cell.opened()).into()),
        requests: cell.begun(),
        in_flight: cell.in_flight(),
    }
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracker")
            .field("phase", &self.phase())
            .field("connections", &self.counts().total())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}
