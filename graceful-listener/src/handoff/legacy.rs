//! The data that the old process sends before READY.

use std::os::fd::OwnedFd;

use super::state::InheritedState;
use crate::protocol::record::Record;

/// All that the predecessor gives before READY, and which generation we are.
#[derive(Debug, Default)]
pub(super) struct Legacy {
    /// The predecessor, by the PID in its HELLO.
    pub(super) pid: u32,
    pub(super) generation: u32,
    /// Whether a supervisor gives it.
    pub(super) worker: bool,
    /// Whether another worker serves that supervisor meanwhile.
    pub(super) relieves: bool,
    pub(super) delivered: Vec<Delivered>,
    pub(super) states: Vec<(String, InheritedState)>,
}

/// A listener as it came through the channel.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) record: Record,
    pub(crate) fd: OwnedFd,
}
