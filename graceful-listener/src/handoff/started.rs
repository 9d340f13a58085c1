//! The process of a successor and the channel to it.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::moving::Moves;
use crate::error::HandoffError;
use crate::link::channel::Channel;
use crate::link::life::Life;
use crate::protocol::frame::Frame;

/// From the end of the channel to the end of a process that is just ending.
const END_TO_EXIT: Duration = Duration::from_secs(1);
/// How often it is looked whether a stranger that broke the protocol has ended.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Started {
    pub(super) pid: u32,
    pub(super) channel: Arc<Channel>,
    life: Life,
    /// The inode of the socket that the child was given; none if it is not our child or no longer its launcher.
    given: Option<u64>,
    /// The PID in its HELLO.
    greeted: Option<u32>,
    /// The child was a launcher: it exited with this, while another process had the channel that has not greeted.
    launched: Option<ExitStatus>,
    /// Whether it has said that it ends on purpose.
    leaves: bool,
    /// The time after which it wants us to be gone.
    hurry: watch::Sender<Option<Duration>>,
}

/// Passes HURRY on to the generations before this one.
pub(super) type PassOn = fn(Duration, u32);

/// What the successor did.
pub(super) enum Heard {
    Frame(Frame),
    /// With its status, if it is known.
    Exit(Option<ExitStatus>),
    Trouble(HandoffError),
}

impl Started {
    /// A child that was given the socket `inode`.
    pub(super) fn new(child: Child, channel: Channel, inode: u64) -> Self {
        let pid = child.id().unwrap_or(0);
        let mut started = Self::with(pid, channel.into(), Life::Child(child));
        started.given = Some(inode);
        started
    }

    /// A process that was started by somebody else. `visible` is its number where we see it.
    pub(super) fn stranger(pid: u32, visible: Option<u32>, channel: Arc<Channel>) -> Self {
        let life = visible.map_or(Life::Stranger(None), Life::of_stranger);
        Self::with(pid, channel, life)
    }

    /// A child from before this process executed itself anew.
    pub(super) fn adopted(pid: u32, channel: Channel) -> Option<Self> {
        Some(Self::with(pid, channel.into(), Life::of_adopted(pid)?))
    }

    fn with(pid: u32, channel: Arc<Channel>, life: Life) -> Self {
        Self {
            pid,
            channel,
            life,
            given: None,
            greeted: None,
            launched: None,
            leaves: false,
            hurry: watch::Sender::default(),
        }
    }

    /// Whether this process started it, through a launcher perhaps, and may end it.
    pub(super) fn is_ours(&self) -> bool {
        self.life.is_ours()
    }

    /// Notes the PID in its HELLO. If our child is only its launcher, it is the process meant from here on.
    pub(super) fn greeted(&mut self, pid: u32) {
        self.greeted = Some(pid);
        let given = self.given.filter(|_| pid != self.pid);
        if let Some(life) = given.and_then(|inode| Life::of_launched(pid, inode)) {
            self.follow(pid, life);
        } else if self.launched.take().is_some() {
            self.pid = pid;
        }
    }

    /// Whether the child that exited was only a launcher, and another process has the channel. A launcher that failed
    /// before its server greeted has started nothing.
    fn was_launcher(&mut self, status: ExitStatus) -> bool {
        let may_be = self.given.is_some() && self.greeted != Some(self.pid);
        let is_one = may_be && !self.channel.is_closed();
        if !is_one || (self.greeted.is_none() && !status.success()) {
            return false;
        }
        self.launched = self.greeted.is_none().then_some(status);
        self.follow(self.greeted.unwrap_or(self.pid), Life::Stranger(None));
        true
    }

    fn follow(&mut self, pid: u32, life: Life) {
        (self.pid, self.life) = (pid, life);
    }

    /// Waits for the next thing it does, without bound. What it said before it ended comes first:
    /// it may say why. Cancel safe.
    pub(super) async fn hear(&mut self) -> Heard {
        let message = loop {
            let end = tokio::select! {
                biased;
                message = self.channel.recv() => break message,
                end = self.life.ended() => end,
            };
            if !matches!(end, Ok(Some(status)) if self.was_launcher(status)) {
                return heard_end(end);
            }
        };
        match message {
            Ok(Some(message)) => Heard::Frame(message.frame),
            Err(error) => Heard::Trouble(error),
            // It keeps the channel to its end.
            Ok(None) if !self.is_ours() => Heard::Exit(self.launched),
            Ok(None) => match timeout(END_TO_EXIT, self.life.ended()).await {
                Ok(end) => heard_end(end),
                Err(_) => Heard::Trouble(HandoffError::protocol("it closed the channel")),
            },
        }
    }

    /// Waits until it has died, or says that it ends on purpose and owes no answer: then there is
    /// no status. Waits without bound. Cancel safe.
    pub(super) async fn died(
        &mut self,
        moves: &Moves,
        pass: PassOn,
    ) -> io::Result<Option<ExitStatus>> {
        while !self.leaves || !moves.are_settled() {
            match self.hear().await {
                Heard::Frame(frame) => self.note(&frame, moves, pass),
                Heard::Exit(_) | Heard::Trouble(_) => return self.last_words(moves, pass).await,
            }
        }
        Ok(None)
    }

    pub(super) fn hurry(&self) -> watch::Receiver<Option<Duration>> {
        self.hurry.subscribe()
    }

    /// Hears on after it has said that it ends on purpose; never ready. Cancel safe.
    pub(super) async fn overhear(&mut self, moves: &Moves, pass: PassOn) {
        while let Heard::Frame(frame) = self.hear().await {
            self.note(&frame, moves, pass);
        }
        std::future::pending().await
    }

    /// Its end. What it said last may have been overtaken by it; behind that the channel is closed.
    async fn last_words(&mut self, moves: &Moves, pass: PassOn) -> io::Result<Option<ExitStatus>> {
        let status = self.exited().await;
        while let Ok(Ok(Some(message))) = timeout(END_TO_EXIT, self.channel.recv()).await {
            self.note(&message.frame, moves, pass);
        }
        // Dead, it takes nothing any more.
        moves.take_back();
        match self.leaves {
            true => Ok(None),
            false => status.map(Some),
        }
    }

    fn note(&mut self, frame: &Frame, moves: &Moves, pass: PassOn) {
        match frame {
            Frame::Leave => {
                self.leaves = true;
                moves.stop();
            }
            Frame::Hurry { ms, spare: 0 } => {
                let within = Duration::from_millis(*ms);
                self.hurry.send_replace(Some(within));
            }
            Frame::Hurry { ms, spare } => pass(Duration::from_millis(*ms), spare - 1),
            Frame::ConnAck { id, taken } => moves.answered(*id, *taken),
            _ => {}
        }
    }

    /// Waits until it has ended, without bound. Cancel safe.
    pub(super) async fn exited(&mut self) -> io::Result<ExitStatus> {
        let Self { life, channel, .. } = self;
        let ours = life.is_ours();
        let closed = async {
            while ours || !channel.is_closed() {
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
        let status = self.life.try_ended()?;
        (!self.was_launcher(status)).then_some(status)
    }

    /// Any signal to a process that is ours.
    pub(super) fn signal(&self, signal: Signal) {
        self.life.signal(signal);
    }

    /// SIGTERM to a process that is ours.
    pub(super) fn terminate(&self) {
        self.life.terminate();
    }

    /// SIGKILL to a process that is ours.
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
