//! A supervisor's end of the channel to a process that serves for it. Guards law 10: whatever
//! becomes of a worker, the listeners are the supervisor's.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::process;
use super::questions::RestartRequest;
use super::started::{Heard, Started};
use super::state::{Arrivals, InheritedState};
use crate::carried::{Carried, Carry};
use crate::error::HandoffError;
use crate::fd::HandoffFd;
use crate::inherited;
use crate::link::channel::Channel;
use crate::listener::HandoffListener;
use crate::protocol::frame::Frame;
use crate::protocol::record::{RELIEVED, WORKER};

/// From the end of a worker to the last of what it said.
const END_TO_SILENCE: Duration = Duration::from_secs(1);

/// A process that serves on listeners which this one keeps: see
/// [`SuccessorBuilder::worker`](crate::SuccessorBuilder::worker).
///
/// Dropping it leaves the process alone, but nobody learns of its end.
#[derive(Debug)]
pub struct Worker {
    started: Started,
    generation: u32,
    replaced: bool,
    /// Whether it said that it ends on purpose.
    left: bool,
    takes: bool,
    relays: bool,
    /// The state that it was asked for, until all of it has come.
    state: Option<(Arrivals, StateSender)>,
}

type StateSender = oneshot::Sender<Result<Vec<(String, InheritedState)>, HandoffError>>;

/// What a worker does, from [`Worker::news`].
#[derive(Debug)]
#[non_exhaustive]
pub enum WorkerNews {
    /// It was asked for a restart, and that is the supervisor's to do. It may wait for the outcome.
    AsksForRestart(RestartRequest),
    /// It begins to end on purpose ([`leave`](crate::leave)): nobody has to come after it, and
    /// whoever holds its listeners should close them.
    Leaves,
    /// It was replaced, and the one in its place is dead: it serves again. Replace it again with whoever serves as well.
    ServesAgain,
    /// It has ended, and is reaped.
    Ended(ExitStatus),
}

impl Worker {
    pub(super) fn new(started: Started, generation: u32, takes: bool, relays: bool) -> Self {
        Self {
            started,
            generation,
            replaced: false,
            left: false,
            takes,
            relays,
            state: None,
        }
    }

    /// Returns the workers that this process had before it executed itself anew
    /// ([`exec`](crate::SuccessorBuilder::exec)). Call it before [`ready`](crate::ready()).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub fn inherited() -> Vec<Self> {
        let channels = inherited::plain_beginning(WORKER).into_iter();
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

    /// Sends SIGTERM because another one serves in its place.
    pub fn replace(&mut self) {
        self.replaced = true;
        self.started.terminate();
    }

    /// Has it hand over to `next`, which serves already, without a signal: the two are made known to each other, what is
    /// idle on this one moves to `next` if that [takes](crate::take_connections) it, and this one drains. If `next` dies
    /// meanwhile it serves again, and says so ([`WorkerNews::ServesAgain`]).
    ///
    /// Returns whether it was told; both have to [expect](crate::expect_replacement) it. If not, and `next` lives,
    /// [`replace`](Self::replace) it. One that was told and does not [leave](WorkerNews::Leaves) is to be terminated.
    ///
    /// # Errors
    ///
    /// No descriptors are left, or `next` is gone. Nothing has happened then.
    pub fn hand_over_to(&mut self, next: &Self) -> io::Result<bool> {
        if !self.relays || !next.relays {
            return Ok(false);
        }
        let (ours, theirs) = UnixStream::pair()?;
        for end in [&ours, &theirs] {
            end.set_nonblocking(true)?;
        }
        let bridge = |to: &Self, heir, end: UnixStream| {
            let (pid, takes) = (to.pid(), to.takes);
            (
                Frame::Bridge { pid, heir, takes },
                vec![Arc::new(OwnedFd::from(end))],
            )
        };
        let (frame, fds) = bridge(self, false, theirs);
        next.started.channel.post(&frame, fds)?;
        let (frame, fds) = bridge(next, true, ours);
        // One that is gone has nothing to hand over.
        let _ = self.started.channel.post(&frame, fds);
        self.replaced = true;
        Ok(true)
    }

    /// Sends SIGTERM to one that was [told](Self::hand_over_to) and has not begun to leave.
    pub fn terminate(&self) {
        self.started.terminate();
    }

    /// Closes `listeners`, and tells the worker if it is the last then to have them, so that it can
    /// [seal](HandoffListener::seal) them at its end. For the stop of the service, before the worker hears of that.
    ///
    /// What is not covered: a listener that a service manager passed, of which there is another handle here, or that
    /// another worker may have, or a process that one had started which has died without [leaving](WorkerNews::Leaves). It is
    /// closed all the same.
    pub fn leave_to(&self, listeners: Vec<HandoffListener>) {
        let alone = process::knows_who_has_it(1);
        let last = |listener: &HandoffListener| {
            let shared = listener.shared();
            alone
                && Arc::strong_count(shared) == 1
                && !listener.is_handed_over()
                && shared.is_sole()
        };
        let sole = listeners.iter().filter(|listener| last(listener));
        let sole = sole.map(|listener| listener.name().to_owned()).collect();
        drop(listeners);
        self.started.channel.say_sole(sole);
    }

    /// Asks it for what the next worker is to start from: its application state. Nothing if it does not hand over by
    /// itself. Await [`news`](Self::news) meanwhile: it hears the answer.
    ///
    /// # Errors
    ///
    /// Awaiting it: the worker is against being replaced, or gone, or breaks the protocol.
    pub fn ask_state(
        &mut self,
    ) -> Option<
        impl Future<Output = Result<Vec<(String, InheritedState)>, HandoffError>>
        + Send
        + 'static
        + use<>,
    > {
        if !self.relays {
            return None;
        }
        let (sender, state) = oneshot::channel();
        self.state = Some((Arrivals::default(), sender));
        let _ = self.started.channel.post(&Frame::Prepare, Vec::new());
        let gone = |_| HandoffError::aborted("the worker ended before it gave its state");
        Some(async move { state.await.map_err(gone)? })
    }

    fn arrived(&mut self, frame: Frame) {
        let Some((mut arrivals, sender)) = self.state.take() else {
            return;
        };
        // Whoever waited may have given up.
        match frame {
            Frame::State {
                name,
                schema,
                more,
                blob,
            } => match arrivals.add(name, schema, more, blob) {
                Ok(()) => self.state = Some((arrivals, sender)),
                Err(error) => _ = sender.send(Err(error)),
            },
            Frame::Abort { reason } => _ = sender.send(Err(HandoffError::vetoed(reason))),
            _ => _ = sender.send(arrivals.finish()),
        }
    }

    /// Returns whether [`replace`](Self::replace) or [`hand_over_to`](Self::hand_over_to) was called, be it before an exec.
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
                Heard::Frame(Frame::Trigger { id }) => {
                    let request = RestartRequest::new(&self.started.channel, id);
                    return Ok(WorkerNews::AsksForRestart(request));
                }
                Heard::Frame(Frame::Leave) => {
                    self.left = true;
                    return Ok(WorkerNews::Leaves);
                }
                Heard::Frame(Frame::Sole { .. }) => process::lose_sight(),
                Heard::Frame(Frame::Reclaim) => {
                    (self.replaced, self.left) = (false, false);
                    return Ok(WorkerNews::ServesAgain);
                }
                Heard::Frame(
                    frame @ (Frame::State { .. } | Frame::Delivered | Frame::Abort { .. }),
                ) => self.arrived(frame),
                Heard::Frame(_) => {}
                Heard::Exit(_) | Heard::Trouble(_) => break,
            }
        }
        self.state = None;
        let status = self.started.exited().await;
        // What it said last may have been overtaken by its end; behind it the channel is closed.
        while let Ok(Ok(Some(message))) = timeout(END_TO_SILENCE, self.started.channel.recv()).await
        {
            match message.frame {
                Frame::Sole { .. } => process::lose_sight(),
                Frame::Leave => {
                    self.left = true;
                    return Ok(WorkerNews::Leaves);
                }
                _ => {}
            }
        }
        process::worker_ended(self.left);
        status.map(WorkerNews::Ended)
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
            takes,
            relays,
            ..
        } = self;
        let pid = self.pid();
        let name = format!("{WORKER};{pid};{generation};{replaced};{takes};{relays}");
        Ok((name, self.started.channel.as_fd().try_clone_to_owned()?))
    }

    fn adopt(name: &str, channel: OwnedFd) -> Option<Self> {
        let mut fields = name.split(';').skip(1);
        let pid = fields.next()?.parse().ok()?;
        let generation = fields.next()?.parse().ok()?;
        let replaced = fields.next()?.parse().ok()?;
        // Those of an earlier release end here.
        let mut able = || fields.next().is_some_and(|field| field == "true");
        let (takes, relays) = (able(), able());
        let started = Started::adopted(pid, Channel::new(channel))?;
        Some(Self {
            replaced,
            ..Self::new(started, generation, takes, relays)
        })
    }
}

/// `process 4711, generation 3`, for a log.
impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}, generation {}", self.pid(), self.generation)
    }
}
