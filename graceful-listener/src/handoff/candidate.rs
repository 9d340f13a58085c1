//! A process that somebody else started and that asks to take over.

use std::sync::Arc;

use super::started::Started;
use crate::link::channel::Channel;
use crate::protocol::frame::Frame;

/// A process that asks to take over: another container, another unit, a deployment script.
///
/// From [`ControlSocket::next`](crate::ControlSocket::next), for
/// [`SuccessorBuilder::adopt`](crate::SuccessorBuilder::adopt). Dropping it refuses, and the
/// process is told so.
#[derive(Debug)]
#[must_use = "dropping a candidate refuses it"]
pub struct Candidate {
    pid: u32,
    /// Until it is let in or refused.
    waiting: Option<Box<Started>>,
}

impl Candidate {
    /// `said` is the number it gives itself, `visible` the one that we see, if any.
    pub(crate) fn new(said: u32, visible: Option<u32>, channel: Arc<Channel>) -> Self {
        let pid = visible.unwrap_or(said);
        Self {
            pid,
            waiting: Some(Started::stranger(pid, visible, channel).into()),
        }
    }

    /// Returns its process number; in a process namespace that is not visible here, the one that
    /// it has there.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Tells it why it cannot take over. It has taken nothing, and nothing changes here.
    pub fn refuse(mut self, reason: impl Into<String>) {
        self.send_off(reason.into());
    }

    pub(super) fn into_started(mut self) -> Option<Started> {
        self.waiting.take().map(|started| *started)
    }

    fn send_off(&mut self, reason: String) {
        if let Some(started) = self.waiting.take() {
            // If it is gone it does not have to know.
            let _ = started.channel.post(&Frame::Abort { reason }, Vec::new());
        }
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        self.send_off("the server did not let it in".to_owned());
    }
}
