//! What somebody asks for at the control socket.

use std::sync::Arc;

use crate::handoff::candidate::Candidate;
use crate::link::channel::Channel;
use crate::protocol::frame::Frame;

/// What somebody asks for at a [`ControlSocket`](crate::ControlSocket).
#[derive(Debug)]
#[non_exhaustive]
pub enum ControlRequest {
    /// To do something and say what came of it.
    Command(ControlCommand),
    /// To take over.
    TakeOver(Candidate),
}

/// A command from [`command`](crate::command()), which waits for the answer.
///
/// Dropping it answers that nothing came of it.
#[derive(Debug)]
pub struct ControlCommand {
    text: String,
    /// Until it is answered.
    channel: Option<Arc<Channel>>,
}

impl ControlCommand {
    pub(super) fn new(text: String, channel: Arc<Channel>) -> Self {
        let channel = Some(channel);
        Self { text, channel }
    }

    /// Returns what is asked for, as the client wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Answers that it is done. The text goes to the client before this returns, so a process
    /// that ends next has still answered.
    pub fn done(mut self, text: impl Into<String>) {
        self.answer(0, text.into());
    }

    /// Answers why it is not done.
    pub fn failed(mut self, reason: impl Into<String>) {
        self.answer(1, reason.into());
    }

    fn answer(&mut self, status: u8, text: String) {
        if let Some(channel) = self.channel.take() {
            // A client that has gone does not want to know.
            let _ = channel.post(&Frame::Answer { status, text }, Vec::new());
        }
    }
}

impl Drop for ControlCommand {
    fn drop(&mut self) {
        self.answer(1, "the server gave up on it".to_owned());
    }
}
