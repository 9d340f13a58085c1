//! The new process's side: READY, then nothing is accepted until COMMIT. Guards law 9.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::OnceCell;

use super::legacy::{Delivered, Legacy};
use super::process;
use super::questions::Questions;
use super::state::InheritedState;
use crate::error::HandoffError;
use crate::link::channel::Channel;
use crate::link::creator::{Creator, SILENT_END};
use crate::log;
use crate::protocol::frame::Frame;
use crate::protocol::record::{RELIEVED, WORKER};

/// The process that started this one and has its listeners.
#[derive(Debug)]
pub(crate) struct Predecessor {
    /// Stays open for the life of this process: its end tells the predecessor that we died.
    pub(super) channel: Arc<Channel>,
    pub(super) creator: Creator,
    /// Its process number, as it says.
    pub(super) pid: u32,
    generation: u32,
    /// Whether it is a supervisor, which stays.
    pub(super) supervises: bool,
    /// Whether another worker of that supervisor serves until COMMIT.
    relieves: bool,
    /// That supervisor's end of the channel to the other one.
    relieved: Mutex<Option<OwnedFd>>,
    delivered: Mutex<Vec<Delivered>>,
    /// The names of what was delivered, by position.
    pub(super) names: Vec<String>,
    /// Positions of those that clients come to.
    service: Vec<u32>,
    /// Whether this process has asked for its place, and was not started by it.
    pub(super) asked: bool,
    pub(super) takes_connections: AtomicBool,
    states: Mutex<Vec<(String, InheritedState)>>,
    declined: OnceLock<String>,
    /// READY said that nobody would serve here where clients come.
    claims_nothing: AtomicBool,
    ready_sent: AtomicBool,
    /// It may accept.
    pub(super) serving: AtomicBool,
    /// The listeners are its own: the predecessor has let go of them, or is gone.
    pub(super) owning: AtomicBool,
    /// Whether this process hands over to the next worker by itself.
    pub(super) relays: AtomicBool,
    /// The worker before this one, whose connections move here.
    pub(super) elder: Mutex<Option<Arc<Channel>>>,
    /// The predecessor itself has ended.
    pub(super) ended: AtomicBool,
    /// The names of listeners that nobody else has but it.
    sole: Mutex<Vec<String>>,
    /// This process ends on purpose.
    pub(super) left: AtomicBool,
    /// Restarts that it was asked for, as a supervisor.
    pub(super) questions: Questions,
    pub(super) outcome: OnceCell<Result<(), HandoffError>>,
}

impl Predecessor {
    pub(super) fn new(channel: Channel, creator: Creator, mut legacy: Legacy) -> Self {
        let is_relieved = |last: &Delivered| last.record.name == RELIEVED;
        let relieved = match legacy.delivered.last().is_some_and(is_relieved) {
            true => legacy.delivered.pop().map(|last| last.fd),
            false => None,
        };
        let name = |delivered: &Delivered| delivered.record.name.clone();
        let serves = |(_, delivered): &(u32, &Delivered)| delivered.record.serves();
        let is_worker = |one: &&Delivered| one.record.name.starts_with(WORKER);
        process::workers_came(legacy.delivered.iter().filter(is_worker).count());
        Self {
            channel: Arc::new(channel),
            creator,
            pid: legacy.pid,
            generation: legacy.generation,
            names: legacy.delivered.iter().map(name).collect(),
            service: (0..)
                .zip(&legacy.delivered)
                .filter(serves)
                .map(|(index, _)| index)
                .collect(),
            asked: false,
            takes_connections: AtomicBool::new(false),
            supervises: legacy.worker,
            relieves: legacy.relieves,
            relieved: Mutex::new(relieved),
            delivered: Mutex::new(legacy.delivered),
            states: Mutex::new(legacy.states),
            declined: OnceLock::new(),
            claims_nothing: AtomicBool::new(false),
            ready_sent: AtomicBool::new(false),
            serving: AtomicBool::new(false),
            owning: AtomicBool::new(false),
            relays: AtomicBool::new(false),
            elder: Mutex::default(),
            ended: AtomicBool::new(false),
            sole: Mutex::default(),
            left: AtomicBool::new(false),
            questions: Questions::default(),
            outcome: OnceCell::new(),
        }
    }

    pub(super) fn elder(&self) -> MutexGuard<'_, Option<Arc<Channel>>> {
        self.elder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says it to whoever was before this process, and to its supervisor. One that is gone does not have to know.
    pub(super) fn tell_all(&self, frame: &Frame) {
        let _ = self.channel.post(frame, Vec::new());
        if let Some(elder) = &*self.elder() {
            let _ = elder.post(frame, Vec::new());
        }
    }

    pub(crate) fn take_delivered(&self) -> Vec<Delivered> {
        std::mem::take(
            &mut self
                .delivered
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Of several of the same name the last one is meant.
    pub(super) fn take_state(&self, name: &str) -> Option<InheritedState> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let last = states.iter().rposition(|(given, _)| given == name)?;
        let state = states.swap_remove(last).1;
        states.retain(|(given, _)| given != name);
        Some(state)
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// The listeners are this process's own. Returns whether they were not before.
    pub(super) fn own(&self, log: fn(u32)) -> bool {
        let first = !self.owning.swap(true, Ordering::AcqRel);
        self.creator.forget();
        if first {
            log(self.generation);
        }
        first
    }

    /// Has the worker that served until COMMIT hand over to this one, if the supervisor has not lived to: then there is no
    /// way to that one, or the way has nobody at its other end.
    pub(super) fn relieve(&self) {
        if !self.ended.load(Ordering::Acquire) || self.elder().is_some() {
            return;
        }
        let relieved = self
            .relieved
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let (Some(relieved), Ok((ours, theirs))) = (relieved, Channel::pair()) {
            let bridge = Frame::Bridge {
                pid: std::process::id(),
                heir: true,
                takes: self.takes_connections.load(Ordering::Acquire),
            };
            // If it is gone it has nothing to hand over.
            let told = Channel::new(relieved).post(&bridge, vec![Arc::new(theirs)]);
            *self.elder() = told.is_ok().then(|| Arc::new(ours));
        }
    }

    /// It said that nobody has these but itself and this process. A name is believed if all listeners are meant that are
    /// called so here.
    pub(super) fn hear_sole(&self, said: &[String]) {
        let count = |names: &[String], name| names.iter().filter(|one| *one == name).count();
        let mut sole = self.sole.lock().unwrap_or_else(PoisonError::into_inner);
        for name in said {
            if count(said, name) == count(&self.names, name) && !sole.contains(name) {
                sole.push(name.clone());
            }
        }
    }

    /// Whether nobody from before this process has the listeners called `name` any more. A supervisor has closed its own
    /// when it says so; another predecessor keeps them until it has ended, and what it said last may not have been heard yet.
    pub(super) fn is_sole(&self, name: &str) -> bool {
        if !self.supervises && !self.channel.is_closed() {
            return false;
        }
        for frame in self.channel.waiting() {
            if let Frame::Sole { names } = frame {
                self.hear_sole(&names);
            }
        }
        let sole = self.sole.lock().unwrap_or_else(PoisonError::into_inner);
        sole.iter().any(|one| one == name)
    }

    /// After READY the predecessor may have committed already, so it is too late.
    pub(super) fn decline(&self, reason: &str) -> bool {
        if self.ready_sent.swap(true, Ordering::AcqRel) {
            return false;
        }
        let _ = self.declined.set(reason.to_owned());
        let reason = reason.to_owned();
        let _ = self.channel.post(&Frame::Abort { reason }, Vec::new());
        true
    }

    /// Waits for COMMIT, or for the death of the predecessor, which leaves the listeners to us.
    /// If the task that ran it is dropped, a later call continues from the same point. `settle` closes the listeners that were
    /// not claimed, and returns their positions.
    pub(super) async fn take_over(&self, settle: fn() -> Vec<u32>) -> Result<(), HandoffError> {
        if let Some(reason) = self.declined.get() {
            return Err(HandoffError::aborted(reason));
        }
        if !self.ready_sent.swap(true, Ordering::AcqRel) {
            let unclaimed = settle();
            let nothing = self.service.iter().all(|index| unclaimed.contains(index));
            let nothing = self.asked && !self.service.is_empty() && nothing;
            self.claims_nothing.store(nothing, Ordering::Release);
            if self.takes_connections.load(Ordering::Acquire) {
                let _ = self.channel.post(&Frame::Takes, Vec::new());
            }
            if self.supervises && self.relays.load(Ordering::Acquire) {
                let _ = self.channel.post(&Frame::Relays, Vec::new());
            }
            // If the predecessor is gone, the next read says so.
            let _ = self.channel.post(&Frame::Ready { unclaimed }, Vec::new());
        }
        loop {
            let said = self.channel.recv().await?.map(|message| message.frame);
            let decided = matches!(
                said,
                Some(Frame::Commit | Frame::Beside | Frame::Abort { .. })
            );
            // If it has let go nevertheless, it takes the listeners back when this process ends.
            if decided && self.claims_nothing.load(Ordering::Acquire) {
                return Err(HandoffError::nothing_claimed());
            }
            match said {
                Some(Frame::Commit) if self.supervises => _ = self.own(log::supervised),
                Some(Frame::Commit) => _ = self.own(log::committed),
                Some(Frame::Beside) => log::beside(self.generation),
                // The next supervisor takes over from the worker that serves, and knows of no other.
                None if self.relieves => return Err(HandoffError::aborted(ORPHANED)),
                None if self.creator.lives() => return Err(HandoffError::aborted(SILENT_END)),
                None => _ = self.own(log::promoted),
                Some(Frame::Abort { reason }) => return Err(HandoffError::aborted(reason)),
                Some(_) => continue,
            }
            self.serving.store(true, Ordering::Release);
            return Ok(());
        }
    }
}

const ORPHANED: &str = "the supervisor is gone, and another worker serves";

#[cfg(test)]
mod tests;
