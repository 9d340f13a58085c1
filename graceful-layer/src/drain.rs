//! What a handler may know of the stop of its server, and what it may do before it is cut.

use std::{cell::Cell, fmt, future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use crate::{Phase, Tracker, savers::Savers, state::Arena, tracker::scatter};

/// How long before the deadline the last call is.
const LAST_CALL: Duration = Duration::from_secs(2);

/// The stop of the server, as its handlers see it: for answers that would not end by themselves, and for work that is
/// too dear to lose.
///
/// [`current`](Self::current) gives it to whatever runs inside [`GracefulLayer`](crate::GracefulLayer) or
/// `graceful_server::serve`; with feature `axum` it is an extractor. It costs nothing until it is asked for, which is why
/// it is not among the request's extensions: putting it there would allocate for every request, on behalf of the few that
/// look. A layer of yours can put it there for the routes that want it so: `request.extensions_mut().insert(Drain::current())`.
///
/// For what does not end by itself: [`or_drained`](Self::or_drained) answers a long poll,
/// [`end_stream`](Self::end_stream) ends an event stream, [`end_socket`](Self::end_socket) closes a WebSocket.
///
/// ```
/// use std::convert::Infallible;
///
/// use graceful_layer::Drain;
/// use http::{Request, Response, StatusCode};
///
/// /// Long work that says at the last call how far it got.
/// async fn export(_: Request<()>) -> Result<Response<String>, Infallible> {
///     let drain = Drain::current().expect("under GracefulLayer");
///     let mut response = Response::new(String::new());
///     tokio::select! {
///         rows = rows() => *response.body_mut() = rows,
///         () = drain.last_call() => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
///     }
///     Ok(response)
/// }
/// # async fn rows() -> String { std::future::pending().await }
/// ```
#[derive(Clone)]
pub struct Drain {
    tracker: Tracker,
    savers: Arc<Savers>,
}

impl Drain {
    /// The drain of the request that is being handled: `None` outside of one.
    ///
    /// Ask in the handler itself, which is the service's future. What a service does in `call`, before it has returned one,
    /// is outside, and so is a task that the handler or axum's `on_upgrade` spawns. Move the returned `Drain` into the task, or run
    /// the task's work in its [`scope`](Self::scope).
    pub fn current() -> Option<Self> {
        let context = CURRENT.get();
        let tracker = Tracker::of(context.arena?)?;
        let savers = savers()?;
        Some(Self { tracker, savers })
    }

    /// While the returned value lives, [`current`](Self::current) returns this drain on this thread, outside of any request.
    pub(crate) fn enter(&self) -> Within {
        let mut savers = Some(self.savers.clone());
        let within = Within::enter(self.tracker.arena(), &mut savers);
        let context = CURRENT.get();
        let marks = context.marks | SCOPE;
        CURRENT.set(Context { marks, ..context });
        within
    }

    /// The tracker of the server.
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Waits until clients are asked to go: since lame duck, or the drain if there is no lame duck.
    ///
    /// # Cancel safety
    /// Cancel safe: it is latched.
    pub async fn draining(&self) {
        self.tracker.reached(Phase::LameDuck).await;
    }

    /// [`draining`](Self::draining), and then this caller's own share of `spread`, so that a fleet of clients does not come
    /// back at once. Never later than the last call.
    ///
    /// # Cancel safety
    /// Cancel safe, but a new call draws a new share.
    pub async fn draining_within(&self, spread: Duration) {
        self.draining().await;
        tokio::select! {
            () = sleep(share(spread)) => {}
            () = self.last_call() => {}
        }
    }

    /// Waits until two seconds before what is left is cut, or until it is cut if that comes sooner.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn last_call(&self) {
        self.draining().await;
        let cutoff = self.tracker.reached(Phase::Cutoff);
        let Some(deadline) = self.tracker.deadline() else {
            return cutoff.await;
        };
        tokio::select! {
            () = sleep_until(deadline.checked_sub(LAST_CALL).unwrap_or_else(Instant::now)) => {}
            () = cutoff => {}
        }
    }

    /// Waits until what is left is cut.
    ///
    /// # Cancel safety
    /// Cancel safe: it is latched.
    pub async fn cancelled(&self) {
        self.tracker.reached(Phase::Cutoff).await;
    }

    /// Has `saver` run if this request is cut before it has an answer: instead of the handler, which is dropped after it.
    ///
    /// Savers of all requests run in parallel, for half of [`Grace::cutoff`](crate::Grace::cutoff) at the most; then the
    /// client gets its 503. Of a request that is answered in time the savers are dropped. If a saver panics, the others still run
    /// and the client still gets its 503; the request then counts as not saved, and the panic is logged and in
    /// [`Report::panics`](crate::Report::panics).
    pub fn on_cutoff(&self, saver: impl Future<Output = ()> + Send + 'static) {
        self.savers.add(saver);
    }

    /// The code for closing a WebSocket now: 1012 (service restart) if a successor serves, else 1001 (going away).
    ///
    /// # References
    /// [IANA, WebSocket Close Code Number Registry](https://www.iana.org/assignments/websocket/websocket.xhtml)
    pub fn close_code(&self) -> u16 {
        if self.tracker.is_handed_over() {
            1012
        } else {
            1001
        }
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("tracker", &self.tracker)
            .finish_non_exhaustive()
    }
}

/// A share of `spread` that differs from call to call, evenly.
pub(crate) fn share(spread: Duration) -> Duration {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    let place = scatter(DRAWN.fetch_add(1, Relaxed)) as u32;
    spread.mul_f64(f64::from(place) / f64::from(u32::MAX))
}

/// What is known of the request whose handler runs on this thread: two words, for they are exchanged at every poll.
#[derive(Clone, Copy)]
struct Context {
    arena: Option<&'static Arena>,
    /// [`ASKED`] and [`SCOPE`]. One byte, because two would be copied one by one at every poll.
    marks: u8,
}

/// The last of `SAVERS` are its own.
const ASKED: u8 = 1;
/// The code runs in a [`Drain::scope`], and not in a request that the arena counts.
const SCOPE: u8 = 2;

impl Context {
    #[inline]
    const fn is(self, mark: u8) -> bool {
        self.marks & mark != 0
    }
}

/// The savers of the request whose handler runs on this thread.
pub(crate) fn savers() -> Option<Arc<Savers>> {
    if !CURRENT.get().is(ASKED) {
        ask(Arc::default());
    }
    with_savers(|all| all.last().cloned())?
}

/// Whether a handler or a scope runs on this thread.
#[inline]
pub(crate) fn is_within() -> bool {
    CURRENT.get().arena.is_some()
}

/// Whether it is the handler of a request that `arena` counts.
pub(crate) fn is_inside(arena: &'static Arena) -> bool {
    let context = CURRENT.get();
    !context.is(SCOPE)
        && context
            .arena
            .is_some_and(|current| std::ptr::eq(current, arena))
}

thread_local! {
    static CURRENT: Cell<Context> = const { Cell::new(Context { arena: None, marks: 0 }) };
    /// Of those that have asked for their drain and run now, one within the other.
    static SAVERS: Cell<Vec<Arc<Savers>>> = const { Cell::new(Vec::new()) };
}

/// Nothing at the end of the thread.
fn with_savers<R>(change: impl FnOnce(&mut Vec<Arc<Savers>>) -> R) -> Option<R> {
    let change = |all: &Cell<Vec<_>>| {
        let mut savers = all.take();
        let changed = change(&mut savers);
        all.set(savers);
        changed
    };
    SAVERS.try_with(change).ok()
}

#[cold]
fn ask(savers: Arc<Savers>) {
    with_savers(|all| all.push(savers));
    let context = CURRENT.get();
    let marks = context.marks | ASKED;
    CURRENT.set(Context { marks, ..context });
}

/// While this lives, the code on this thread is the handler of a request, whose drain it may ask for.
pub(crate) struct Within {
    /// What was current before: of a layer around this one, or nothing.
    outer: Context,
}

impl Within {
    /// `savers` is what the handler has left to be run so far.
    #[inline]
    pub(crate) fn enter(arena: &'static Arena, savers: &mut Option<Arc<Savers>>) -> Self {
        let outer = CURRENT.replace(Context {
            arena: Some(arena),
            marks: 0,
        });
        if let Some(savers) = savers.take() {
            ask(savers);
        }
        Self { outer }
    }

    /// Returns whether the handler has left something by now, to be [`collect`]ed. If it panics, nobody will run that.
    #[inline]
    pub(crate) fn leave(self) -> bool {
        let context = CURRENT.get();
        CURRENT.set(Context {
            marks: 0,
            ..context
        });
        context.is(ASKED)
    }
}

impl Drop for Within {
    #[inline]
    fn drop(&mut self) {
        if CURRENT.get().is(ASKED) {
            drop(collect());
        }
        CURRENT.set(self.outer);
    }
}

/// What the handler left that was within last.
pub(crate) fn collect() -> Option<Arc<Savers>> {
    with_savers(Vec::pop)?
}

#[cfg(feature = "axum")]
impl<S: Sync> axum_core::extract::FromRequestParts<S> for Drain {
    type Rejection = (http::StatusCode, &'static str);

    async fn from_request_parts(
        _: &mut http::request::Parts,
        _: &S,
    ) -> Result<Self, Self::Rejection> {
        const OUTSIDE: &str =
            "Drain is extracted under GracefulLayer or graceful_server::serve only";
        Self::current().ok_or((http::StatusCode::INTERNAL_SERVER_ERROR, OUTSIDE))
    }
}
