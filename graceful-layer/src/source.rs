//! Where a service counts its requests: on its connection, or on the thread that calls it.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Wake, Waker},
};

use http::{Method, Request, Version};

use crate::{
    Phase, Tracker,
    state::{Arena, Cell, Part, RequestGuard},
};

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Loose(Arc<Loose>),
    Connection(Part),
}

/// The source of a layer and of all its services: requests on connections that the tracker does not know.
pub(crate) struct Loose {
    arena: &'static Arena,
    tracker: Tracker,
}

impl Loose {
    pub(crate) fn new(tracker: Tracker) -> Arc<Self> {
        tracker.expect_loose_requests();
        let arena = tracker.arena();
        Arc::new(Self { arena, tracker })
    }

    pub(crate) fn tracker(&self) -> &Tracker {
        &self.tracker
    }
}

/// A request needs its tracker for `Drain::current` until it ends, even if the router and every clone of the tracker are dropped before.
/// A clone in each request would cost two atomic operations. When the last service is dropped no request can begin any more, so one clone
/// for all that are in flight is enough.
impl Drop for Loose {
    fn drop(&mut self) {
        if self.arena.has_loose_in_flight() {
            Keeper::keep(self.tracker.clone());
        }
    }
}

impl fmt::Debug for Loose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tracker.fmt(f)
    }
}

/// Holds a tracker until no request is in flight whose connection is not known.
struct Keeper(Tracker);

impl Keeper {
    fn keep(tracker: Tracker) {
        let arena = tracker.arena();
        let waker = Waker::from(Arc::new(Self(tracker)));
        // In both cases the arena owns the only other reference, and drops it after the last request.
        let _ = arena.poll_loose_over(&Context::from_waker(&waker));
    }
}

impl Wake for Keeper {
    fn wake(self: Arc<Self>) {
        let tracker = self.0.clone();
        drop(self);
        Self::keep(tracker);
    }
}

impl Source {
    /// Whether requests come too late to open a tunnel. The phase is read again for the response, after the request is counted (law 3).
    #[inline]
    pub(crate) fn is_draining(&self) -> bool {
        let orders = match self {
            Self::Loose(loose) => loose.arena.orders(),
            Self::Connection(part) => part.cell().orders(),
        };
        orders.phase() >= Phase::Draining
    }

    /// Counts a request in, which this lets go again.
    #[inline]
    pub(crate) fn begin(&self) -> RequestGuard {
        RequestGuard::of(self.count_in())
    }

    /// Counts a request in (law 3: in `call`, before anything is looked at). Whoever asked counts it out again.
    #[inline]
    pub(crate) fn count_in(&self) -> &'static Cell {
        let cell = match self {
            Self::Loose(loose) => loose.arena.loose_cell(),
            Self::Connection(part) => {
                part.cell().note_request();
                part.cell()
            }
        };
        cell.count_in();
        cell
    }

    /// Notes what matters for how the connection is closed.
    #[inline]
    pub(crate) fn note<B>(&self, request: &Request<B>) {
        let Self::Connection(part) = self else { return };
        if request.version() == Version::HTTP_2 {
            return part.cell().set_http2();
        }
        // Whether a GET has a body is not looked at: that costs each request 50 instructions.
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            part.cell().note_upload();
        }
        #[cfg(feature = "hyper")]
        if !request.extensions().is_empty() {
            note_offer(part, request);
        }
    }
}

/// hyper keeps the offer of an upgrade for as long as the connection lives, whatever was answered: asked to end, it gives the
/// stream to whoever would have taken it up.
#[cfg(feature = "hyper")]
#[cold]
fn note_offer<B>(part: &Part, request: &Request<B>) {
    if request
        .extensions()
        .get::<hyper::upgrade::OnUpgrade>()
        .is_some()
    {
        part.cell().keep_server();
    }
}
