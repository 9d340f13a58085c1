//! The process of a successor and the channel to it.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::timeout;

use super::channel::Channel;
use super::error::HandoffError;
use super::frame::Frame;

/// From the end of the channel to the end of a process that is just ending.
const END_TO_EXIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Started {
    pub(super) pid: u32,
    pub(super) channel: Channel,
    child: Child,
}

/// What the successor did.
pub(super) enum Heard {
    Frame(Frame),
    Exit(ExitStatus),
    Trouble(HandoffError),
}

impl Started {
    pub(super) fn new(child: Child, channel: Channel) -> Self {
        Self {
            pid: child.id().unwrap_or(0),
            channel,
            child,
        }
    }

    /// Waits for the next thing it does, without bound. What it said before it ended comes first:
    /// it may say why. Cancel safe.
    pub(super) async fn hear(&mut self) -> Heard {
        let message = tokio::select! {
            biased;
            message = self.channel.recv() => message,
            exit = self.child.wait() => return heard_exit(exit),
        };
        match message {
            Ok(Some(message)) => Heard::Frame(message.frame),
            Err(error) => Heard::Trouble(error),
            Ok(None) => match timeout(END_TO_EXIT, self.child.wait()).await {
                Ok(exit) => heard_exit(exit),
                Err(_) => Heard::Trouble(HandoffError::protocol("it closed the channel")),
            },
        }
    }

    /// Waits until it has died, or says that it ends on purpose: then there is no status. Waits
    /// without bound. Cancel safe.
    pub(super) async fn died(&mut self) -> io::Result<Option<ExitStatus>> {
        loop {
            match self.hear().await {
                Heard::Frame(Frame::Leave) => return Ok(None),
                Heard::Frame(_) => {}
                Heard::Exit(_) | Heard::Trouble(_) => break,
            }
        }
        let status = self.exited().await?;
        // What it said last may have been overtaken by its end; behind it the channel is closed.
        while let Ok(Ok(Some(message))) = timeout(END_TO_EXIT, self.channel.recv()).await {
            if message.frame == Frame::Leave {
                return Ok(None);
            }
        }
        Ok(Some(status))
    }

    /// Waits until it has ended, without bound. Cancel safe.
    pub(super) async fn exited(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Its exit status, if it has ended.
    pub(super) fn try_exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGTERM. The number is its own until it is reaped, and that only we do.
    pub(super) fn terminate(&self) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        let _ = self.child.start_kill();
    }
}

fn heard_exit(exit: io::Result<ExitStatus>) -> Heard {
    match exit {
        Ok(status) => Heard::Exit(status),
        Err(error) => Heard::Trouble(HandoffError::io("wait for the successor", error)),
    }
}
