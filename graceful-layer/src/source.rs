//! Where a service counts its requests: on its connection, or on the thread that calls it.

use crate::{
    Tracker,
    state::{Part, RequestGuard},
};

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Loose(Tracker),
    Connection(Part),
}

impl Source {
    /// Counts a request in (law 3: in `call`, before anything is looked at).
    #[inline]
    pub(crate) fn begin(&self) -> RequestGuard {
        match self {
            Self::Loose(tracker) => tracker.arena().loose_cell().begin(),
            Self::Connection(part) => {
                let guard = part.cell().begin();
                part.cell().note_request();
                guard
            }
        }
    }

    pub(crate) fn note_http2(&self) {
        if let Self::Connection(part) = self {
            part.cell().set_http2();
        }
    }
}
