//! A supervisor's end of the channel to a process that serves for it. Guards law 10: whatever
//! becomes of a worker, the listeners are the supervisor's.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::timeout;

use super::channel::Channel;
use super::frame::Frame;
use super::predecessor::RELIEVED;
use super::started::{Heard, Started};
use crate::carried::Carried;
use crate::{HandoffFd, inherited};

/// From the end of a worker to the last of what it said.
const END_TO_SILENCE: Duration = Duration::from_secs(1);
/// What the names of channels begin with, on their way through an exec.
const NAME: &str = "graceful-worker";

/// A process that serves on listeners which this one keeps: see
/// [`SuccessorBuilder::worker`](crate::SuccessorBuilder::worker).
///
/// Dropping it leaves the process alone, but nobody learns of its end.
#[derive(Debug)]
pub struct Worker {
    started: Started,
    generation: u32,
    replaced: bool,
}

/// What a worker does, from [`Worker::news`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerNews {
    /// It was asked for a restart, and that is the supervisor's to do.
    AsksForRestart,
    /// It begins to end on purpose ([`leave`](crate::leave)): nobody has to come after it, and
    /// whoever holds its listeners should close them.
    Leaves,
    /// It has ended, and is reaped.
    Ended(ExitStatus),
}

impl Worker {
    pub(super) fn new(started: Started, generation: u32) -> Self {
        let replaced = false;
        Self {
            started,
            generation,
            replaced,
        }
    }

    /// Returns the workers that this process had before it executed itself anew
    /// ([`exec`](crate::SuccessorBuilder::exec)). Call it before [`ready`](crate::ready()).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub fn inherited() -> Vec<Self> {
        let channels = inherited::plain_beginning(NAME).into_iter();
        channels
            .filter_map(|(name, channel)| Self::adopt(&name, channel))
            .collect()
    }

    /// Returns its process number, which stays its own until [`news`](Self::news) told of its end.
    pub fn pid(&self) -> u32 {
        self.started.pid
    }

    /// Returns its generation.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Sends SIGTERM because another one serves in its place, which it is told before
    /// ([`News::Relieved`](crate::News::Relieved)).
    pub fn replace(&mut self) {
        self.replaced = true;
        // If it is gone it does not have to know.
        let _ = self.started.channel.post(&Frame::Relief, Vec::new());
        self.started.terminate();
    }

    /// Returns whether [`replace`](Self::replace) was called, be it before an exec.
    pub fn is_replaced(&self) -> bool {
        self.replaced
    }

    /// Sends a signal by its number, if there is such.
    pub fn signal(&self, number: i32) {
        if let Some(signal) = Signal::from_named_raw(number) {
            self.started.signal(signal);
        }
    }

    /// Waits, without bound, for what it does next.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// Those of waitpid(2). It has ended all the same.
    pub async fn news(&mut self) -> io::Result<WorkerNews> {
        loop {
            match self.started.hear().await {
                Heard::Frame(Frame::Trigger) => return Ok(WorkerNews::AsksForRestart),
                Heard::Frame(Frame::Leave) => return Ok(WorkerNews::Leaves),
                Heard::Frame(_) => {}
                Heard::Exit(_) | Heard::Trouble(_) => break,
            }
        }
        let status = self.started.exited().await?;
        // What it said last may have been overtaken by its end; behind it the channel is closed.
        while let Ok(Ok(Some(message))) = timeout(END_TO_SILENCE, self.started.channel.recv()).await
        {
            if message.frame == Frame::Leave {
                return Ok(WorkerNews::Leaves);
            }
        }
        Ok(WorkerNews::Ended(status))
    }

    /// Its channel for the worker that is to take its place; none if there are no descriptors left,
    /// and then no process can be started either.
    pub(super) fn relieved(&self) -> Option<Carried> {
        let channel = self.started.channel.as_fd().try_clone_to_owned().ok()?;
        let named = HandoffFd::new(RELIEVED, channel).ok()?;
        Some(Carried::from(&named))
    }

    /// Its channel, and the name that says whose it is.
    pub(super) fn channel(&self) -> io::Result<(String, OwnedFd)> {
        let Self {
            generation,
            replaced,
            ..
        } = self;
        let pid = self.pid();
        let name = format!("{NAME};{pid};{generation};{replaced}");
        Ok((name, self.started.channel.as_fd().try_clone_to_owned()?))
    }

    fn adopt(name: &str, channel: OwnedFd) -> Option<Self> {
        let mut fields = name.split(';').skip(1);
        let pid = fields.next()?.parse().ok()?;
        let generation = fields.next()?.parse().ok()?;
        let replaced = fields.next()?.parse().ok()?;
        let started = Started::adopted(pid, Channel::new(channel))?;
        Some(Self {
            started,
            generation,
            replaced,
        })
    }
}

/// `process 4711, generation 3`, for a log.
impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}, generation {}", self.pid(), self.generation)
    }
}
