//! The handle: read it, wait on it, combine it. Where signals come from is in `constructors.rs`, how
//! they are stored in `cell.rs`. Keeps law 1 (late subscribers see it, setting it twice is nothing
//! to who only waits for the first).

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::Cause;
use crate::source::{Source, Watch};

/// *When to stop*: a future that completes when somebody asks for it, and stays complete.
///
/// 1. It starts at [`level`](Self::level) 0 and is pending.
/// 2. The first delivery makes the level 1 and completes the future: this clone, every other clone,
///    clones made later, and each further poll. A delivery that comes before anybody polls counts.
/// 3. Each further delivery raises the level by one: the wish to stop *faster*. Whoever runs the
///    shutdown follows it with [`reached`](Self::reached).
///
/// It is `Send`, `Sync`, `Unpin` and `'static`, so it goes as it is wherever a shutdown future is
/// asked for. Clones are cheap. When the last one is dropped its source ends: no task and no signal
/// handler is left, and the signals have their default action again.
///
/// It says when, and nothing more. To run the shutdown itself use `graceful-layer`'s tracker or
/// `graceful-server`; to cancel trees of tasks, tokio-util's `CancellationToken`.
///
/// # Examples
/// With axum's `serve(..).with_graceful_shutdown(signal)` and tonic's `serve_with_shutdown(addr,
/// signal)`, which ask for exactly this:
///
/// ```no_run
/// use graceful_signal::ShutdownSignal;
/// # struct Serve;
/// # fn serve() -> Serve { Serve }
/// # impl Serve {
/// #     async fn with_graceful_shutdown<F>(self, _: F) -> std::io::Result<()>
/// #     where F: Future<Output = ()> + Send + 'static { Ok(()) }
/// #     async fn serve_with_shutdown<F: Future<Output = ()>>(self, _: std::net::SocketAddr, _: F)
/// #         -> std::io::Result<()> { Ok(()) }
/// # }
/// # async fn example(addr: std::net::SocketAddr) -> std::io::Result<()> {
/// let signal = ShutdownSignal::terminate()?;
/// let http = serve().with_graceful_shutdown(signal.clone()); // axum::serve(listener, app)
/// let grpc = serve().serve_with_shutdown(addr, signal); // tonic's Server::builder().add_service(s)
/// tokio::try_join!(http, grpc)?;
/// # Ok(())
/// # }
/// ```
///
/// Following the level:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use graceful_signal::{Cause, ShutdownSignal};
///
/// let (trigger, signal) = ShutdownSignal::manual();
/// trigger.fire();
/// signal.clone().await;
/// assert_eq!(signal.cause(), Some(Cause::Manual));
///
/// trigger.fire();
/// signal.reached(2).await;
/// assert_eq!(signal.level(), 2);
/// # }
/// ```
///
/// # Cancel safety
/// Dropping it, or a future of [`reached`](Self::reached), loses nothing: what was delivered is seen
/// by every other handle, and by the next poll of this one.
#[derive(Clone)]
#[must_use = "a signal is awaited, or given to what shall stop; dropped, its source ends"]
pub struct ShutdownSignal {
    sources: Vec<Watch>,
}

impl ShutdownSignal {
    pub(crate) fn from_source(source: Source) -> Self {
        Self {
            sources: vec![Watch::new(source)],
        }
    }

    pub(crate) const fn without_source() -> Self {
        Self {
            sources: Vec::new(),
        }
    }

    /// Fires when either of the two does.
    ///
    /// The level is the sum of both, the cause that of the earlier. A source that is in both counts
    /// once, so `a.or(b.clone()).or(b)` is `a.or(b)`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// use graceful_signal::ShutdownSignal;
    ///
    /// let (trigger, manual) = ShutdownSignal::manual();
    /// let signal = ShutdownSignal::terminate()?.or(manual);
    /// trigger.fire();
    /// signal.await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn or(mut self, other: Self) -> Self {
        for watch in other.sources {
            if !self.sources.iter().any(|known| known.is_same(&watch)) {
                self.sources.push(watch);
            }
        }
        self
    }

    /// Whether there was a delivery. Takes no lock.
    pub fn has_fired(&self) -> bool {
        self.level() > 0
    }

    /// How many deliveries there were: 0 for none, 1 for stop, each further one for a step faster.
    /// Takes no lock.
    pub fn level(&self) -> u32 {
        let levels = self.sources.iter().map(|watch| watch.cell().level());
        levels.fold(0, u32::saturating_add)
    }

    /// What made the first delivery; `None` before it.
    pub fn cause(&self) -> Option<Cause> {
        let firsts = self.sources.iter().filter_map(|watch| watch.cell().first());
        firsts.min_by_key(|(at, _)| *at).map(|(_, cause)| cause)
    }

    /// Waits, without bound, until [`level`](Self::level) is at least `level`.
    ///
    /// At once for a level that was already reached, so always for 0.
    ///
    /// # Cancel safety
    /// Cancel safe: levels never go back, so asking again continues the wait.
    pub async fn reached(&self, level: u32) {
        let mut waiting = self.clone();
        poll_fn(|cx| waiting.poll_reached(level, cx)).await;
    }

    fn poll_reached(&mut self, wanted: u32, cx: &mut Context<'_>) -> Poll<()> {
        if self.level() >= wanted {
            return Poll::Ready(());
        }
        let joined = self.sources.iter_mut().map(|watch| watch.join(cx.waker()));
        if joined.fold(0, u32::saturating_add) >= wanted {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Future for ShutdownSignal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_reached(1, cx)
    }
}

impl fmt::Debug for ShutdownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownSignal")
            .field("level", &self.level())
            .field("cause", &self.cause())
            .finish_non_exhaustive()
    }
}
