//! Where a service counts its requests: on its connection, or on the thread that calls it.

use http::{Method, Request, Version};

use crate::{
    Tracker,
    state::{Cell, Part, RequestGuard},
};

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Loose(Tracker),
    Connection(Part),
}

impl Source {
    /// Counts a request in, which this lets go again.
    #[inline]
    pub(crate) fn begin(&self) -> RequestGuard {
        RequestGuard::of(self.count_in())
    }

    /// Counts a request in (law 3: in `call`, before anything is looked at). Whoever asked counts it out again.
    #[inline]
    pub(crate) fn count_in(&self) -> &'static Cell {
        let cell = match self {
            Self::Loose(tracker) => tracker.arena().loose_cell(),
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
