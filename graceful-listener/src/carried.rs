//! What goes from one process to the next. The hand-over knows no more of a listener, a UDP
//! socket or another descriptor than this. Guards law 10: handing over closes nothing.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::protocol::record::Socket;

/// Where a listener came from, and with that who else may have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Provenance {
    /// Bound here, or kept for this service by its manager.
    Own,
    /// Passed by a manager or somebody else, who may have it still and pass it to others.
    Passed,
    /// From the predecessor, under this name.
    Delivered(String),
}

pub(crate) trait Carry: fmt::Debug + Send + Sync {
    /// Its name; with the index among its namesakes it is the key by which it is found again.
    fn name(&self) -> &str;

    fn socket(&self) -> Arc<OwnedFd>;

    /// What the next generation has to know of it.
    fn description(&self) -> Socket;

    /// Whether nobody from before this process has it any more.
    fn is_sole(&self) -> bool {
        false
    }

    /// The successor has it.
    fn hand_over(&self);

    /// The successor is gone: it is this process's again.
    fn reclaim(&self);
}

/// Something to hand over with [`SuccessorBuilder::carry`](crate::SuccessorBuilder::carry): made
/// from a reference to a [`HandoffUdp`](crate::HandoffUdp), a [`HandoffFd`](crate::HandoffFd) or a
/// [`HandoffListener`](crate::HandoffListener).
///
/// It is one more handle: the socket stays open while it lives.
#[derive(Clone)]
pub struct Carried(pub(crate) Arc<dyn Carry>);

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Carried").field(&self.0.name()).finish()
    }
}
