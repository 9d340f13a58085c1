//! What goes from one process to the next. The hand-over knows no more of a listener, a UDP
//! socket or another descriptor than this. Guards law 10: handing over closes nothing.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::handoff::Socket;
use crate::{HandoffFd, HandoffListener, HandoffUdp};

pub(crate) trait Carry: fmt::Debug + Send + Sync {
    /// Its name; with the index among its namesakes it is the key by which it is found again.
    fn name(&self) -> &str;

    fn socket(&self) -> Arc<OwnedFd>;

    /// What the next generation has to know of it.
    fn description(&self) -> Socket;

    /// The successor has it.
    fn hand_over(&self);

    /// The successor is gone: it is this process's again.
    fn reclaim(&self);
}

/// Something to hand over with [`SuccessorBuilder::carry`](crate::SuccessorBuilder::carry): made
/// from a reference to a [`HandoffUdp`], a [`HandoffFd`] or a [`HandoffListener`].
///
/// It is one more handle: the socket stays open while it lives.
#[derive(Clone)]
pub struct Carried(pub(crate) Arc<dyn Carry>);

impl From<&HandoffListener> for Carried {
    fn from(listener: &HandoffListener) -> Self {
        Self(Arc::clone(listener.shared()) as _)
    }
}

impl From<&HandoffUdp> for Carried {
    fn from(udp: &HandoffUdp) -> Self {
        Self(Arc::clone(udp.shared()) as _)
    }
}

impl From<&HandoffFd> for Carried {
    fn from(fd: &HandoffFd) -> Self {
        Self(Arc::clone(fd.shared()) as _)
    }
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Carried").field(&self.0.name()).finish()
    }
}
