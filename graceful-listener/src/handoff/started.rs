//! The process of a successor and the channel to it.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::channel::Channel;
use super::error::HandoffError;
use super::frame::Frame;
use super::life::Life;

/// From the end of the channel to the end of a process that is just ending.
const END_TO_EXIT: Duration = Duration::from_secs(1);
/// How often it is looked whether a stranger that broke the protocol has ended.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Started {
    pub(super) pid: u32,
    pub(super) channel: Channel,
    life: Life,
}

/// What the successor did.
pub(super) enum Heard {
    Frame(Frame),
    /// With its status, if it is known.
    Exit(Option<ExitStatus>),
    Trouble(HandoffError),
}

impl Started {
    pub(super) fn new(child: Child, channel: Channel) -> Self {
        Self {
            pid: child.id().unwrap_or(0),
            channel,
            life: Life::Child(child),
        }
    }

    /// A process that was started by somebody else. `visible` is its number where we see it.
    pub(super) fn stranger(pid: u32, visible: Option<u32>, channel: Channel) -> Self {
        let life = visible.map_or(Life::Stranger(None), Life::of_stranger);
        Self { pid, channel, life }
    }

    /// A child from before this process executed itself anew.
    pub(super) fn adopted(pid: u32, channel: Channel) -> Option<Self> {
        let life = Life::of_adopted(pid)?;
        Some(Self { pid, channel, life })
    }

    pub(super) fn is_child(&self) -> bool {
        self.life.is_child()
    }

    /// Waits for the next thing it does, without bound. What it said before it ended comes first:
    /// it may say why. Cancel safe.
    pub(super) async fn hear(&mut self) -> Heard {
        let message = tokio::select! {
            biased;
            message = self.channel.recv() => message,
            end = self.life.ended() => return heard_end(end),
        };
        match message {
            Ok(Some(message)) => Heard::Frame(message.frame),
            Err(error) => Heard::Trouble(error),
            // It keeps the channel to its end.
            Ok(None) if !self.is_child() => Heard::Exit(None),
            Ok(None) => match timeout(END_TO_EXIT, self.life.ended()).await {
                Ok(end) => heard_end(end),
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
        let status = self.exited().await;
        // What it said last may have been overtaken by its end; behind it the channel is closed.
        while let Ok(Ok(Some(message))) = timeout(END_TO_EXIT, self.channel.recv()).await {
            if message.frame == Frame::Leave {
                return Ok(None);
            }
        }
        status.map(Some)
    }

    /// Waits until it has ended, without bound. Cancel safe.
    pub(super) async fn exited(&mut self) -> io::Result<ExitStatus> {
        let Self { life, channel, .. } = self;
        let child = life.is_child();
        let closed = async {
            while child || !channel.is_closed() {
                sleep(LOOK).await;
            }
        };
        let status = tokio::select! {
            end = life.ended() => end?,
            () = closed => None,
        };
        status.ok_or_else(|| io::Error::other(UNKNOWN))
    }

    /// Its exit status, if it is a child and has ended.
    pub(super) fn try_exited(&mut self) -> Option<ExitStatus> {
        self.life.try_ended()
    }

    /// Any signal to a child.
    pub(super) fn signal(&self, signal: Signal) {
        self.life.signal(signal);
    }

    /// SIGTERM to a child.
    pub(super) fn terminate(&self) {
        self.life.terminate();
    }

    /// SIGKILL to a child.
    pub(super) fn kill(&mut self) {
        self.life.kill();
    }
}

const UNKNOWN: &str = "it is no child of this process, so how it ended is not known here";

fn heard_end(end: io::Result<Option<ExitStatus>>) -> Heard {
    match end {
        Ok(status) => Heard::Exit(status),
        Err(error) => Heard::Trouble(HandoffError::io("wait for the successor", error)),
    }
}
