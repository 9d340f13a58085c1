//! The new process's side: READY, then nothing is accepted until COMMIT. Guards law 9.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::asking::Questions;
use super::channel::Channel;
use super::error::HandoffError;
use super::frame::Frame;
use super::heritage::{Delivered, Heritage, Legacy, heritage};
use super::process;
use super::state::InheritedState;
use super::worker;
use crate::env::ChannelFd;
use crate::{inherited, log};

/// The process that started this one and has its listeners.
#[derive(Debug)]
pub(crate) struct Predecessor {
    /// Stays open for the life of this process: its end tells the predecessor that we died.
    pub(super) channel: Arc<Channel>,
    /// Its process number, as it says.
    pid: u32,
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
    outcome: OnceCell<Result<(), HandoffError>>,
}

impl Predecessor {
    pub(super) fn new(channel: Channel, mut legacy: Legacy) -> Self {
        let is_relieved = |last: &Delivered| last.record.name == RELIEVED;
        let relieved = match legacy.delivered.last().is_some_and(is_relieved) {
            true => legacy.delivered.pop().map(|last| last.fd),
            false => None,
        };
        let name = |delivered: &Delivered| delivered.record.name.clone();
        let serves = |(_, delivered): &(u32, &Delivered)| delivered.record.serves();
        let is_worker = |one: &&Delivered| one.record.name.starts_with(worker::NAME);
        process::workers_came(legacy.delivered.iter().filter(is_worker).count());
        Self {
            channel: Arc::new(channel),
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
    fn tell_all(&self, frame: &Frame) {
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
    fn is_sole(&self, name: &str) -> bool {
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
    fn decline(&self, reason: &str) -> bool {
        if self.ready_sent.swap(true, Ordering::AcqRel) {
            return false;
        }
        let _ = self.declined.set(reason.to_owned());
        let reason = reason.to_owned();
        let _ = self.channel.post(&Frame::Abort { reason }, Vec::new());
        true
    }

    /// Waits for COMMIT, or for the end of the predecessor, which leaves the listeners to us.
    /// Runs again from where it was if the task that ran it is dropped.
    async fn take_over(&self) -> Result<(), HandoffError> {
        if let Some(reason) = self.declined.get() {
            return Err(HandoffError::aborted(reason));
        }
        if !self.ready_sent.swap(true, Ordering::AcqRel) {
            let unclaimed = inherited::settle_delivered();
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
                None => _ = self.own(log::promoted),
                Some(Frame::Abort { reason }) => return Err(HandoffError::aborted(reason)),
                Some(_) => continue,
            }
            self.serving.store(true, Ordering::Release);
            return Ok(());
        }
    }
}

/// What the channel to the worker that is relieved is called, last of all that is delivered. Whoever does not know it closes
/// it with what nobody claimed.
pub(super) const RELIEVED: &str = "graceful-relieved";
const ORPHANED: &str = "the supervisor is gone, and another worker serves";

/// Tells the predecessor that this process is ready and waits until it may serve.
///
/// First the inherited listeners that nobody claimed are closed. Then a process that has a
/// predecessor sends READY and waits, without bound, until the predecessor commits or is gone:
/// in both cases this process is the one to serve. A process without a predecessor may serve
/// at once. All later calls, from any task, give the same answer. If the predecessor is a
/// supervisor that dies while another worker serves, that one goes on, and this process must not.
///
/// [`HandoffListener::accept`](crate::HandoffListener::accept) does this itself at its first
/// call; call it before if something else has to wait for it, such as a pid file. Claim all
/// listeners first: afterwards they are closed.
///
/// # Cancel safety
///
/// Dropping the future loses nothing; the next call goes on where this one was.
///
/// # Errors
///
/// [`is_aborted`](HandoffError::is_aborted) if the predecessor called the hand-over off;
/// [`is_nothing_claimed`](HandoffError::is_nothing_claimed) if this process asked for its place and
/// has claimed nothing that clients come to; and [`is_protocol`](HandoffError::is_protocol) if it cannot be understood. The predecessor then
/// goes on serving, and this process must not: it should end.
pub async fn ready() -> Result<(), HandoffError> {
    match heritage() {
        Heritage::Predecessor(predecessor) => predecessor
            .outcome
            .get_or_init(|| predecessor.take_over())
            .await
            .clone(),
        Heritage::Failed(error) => Err(error.clone()),
        Heritage::Nobody | Heritage::Malformed(_) => {
            inherited::settle();
            Ok(())
        }
    }
}

/// Asks the predecessor for more time: the start may take `by` from now on.
///
/// Without a predecessor, or once it has committed, it does nothing. The predecessor grants at
/// most ten times its `ready_timeout` in all, so that no start hangs for ever.
pub fn extend(by: Duration) {
    if let Heritage::Predecessor(predecessor) = heritage() {
        if !predecessor.serving.load(Ordering::Acquire) {
            let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            let _ = predecessor.channel.post(&Frame::Extend { ms }, Vec::new());
        }
    }
}

/// Returns whether this process serves beside its predecessor, which has not let go of the listeners
/// and may dismiss this process ([`News::Dismissed`](crate::News::Dismissed)).
pub fn is_beside() -> bool {
    may_accept() && !owns()
}

/// The predecessor that serves beside this process.
pub(super) fn beside() -> Option<u32> {
    match heritage() {
        Heritage::Predecessor(predecessor) if is_beside() => Some(predecessor.pid),
        _ => None,
    }
}

/// Asks older generations that still drain to be gone `within` a time, but for the youngest `spare` of
/// them: they are asked one through the other, the predecessor of this process first.
///
/// Say it before [`leave`]. What is not covered: a generation whose own successor is gone is not
/// reached; it keeps its deadline.
pub fn hurry(within: Duration, spare: u32) {
    if let Heritage::Predecessor(predecessor) = heritage() {
        if predecessor.serving.load(Ordering::Acquire) {
            let ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
            predecessor.tell_all(&Frame::Hurry { ms, spare });
        }
    }
}

/// Tells the predecessor that this process cannot take over, and why: what it was given to start
/// from is not for it. Returns whether it was told.
///
/// The predecessor serves on and reports the reason to whoever asked for the restart. This process
/// accepts nothing from here on, and [`ready`] says so: it should end, and a predecessor that
/// started it sees to that. Without a predecessor, and once `ready` was called, nothing happens.
pub fn decline(reason: &str) -> bool {
    match heritage() {
        Heritage::Predecessor(predecessor) => predecessor.decline(reason),
        _ => false,
    }
}

/// Tells the predecessor, which may still drain, that this process ends on purpose: it was stopped,
/// or has handed over in its turn. Otherwise its end is taken for a crash, and the predecessor takes
/// the listeners back.
///
/// Without a predecessor, or before it has let go, it does nothing.
pub fn leave() {
    if let Heritage::Predecessor(predecessor) = heritage() {
        if predecessor.serving.load(Ordering::Acquire) {
            predecessor.left.store(true, Ordering::Release);
            predecessor.tell_all(&Frame::Leave);
        }
    }
}

/// Whether a supervisor started this process as its worker
/// ([`SuccessorBuilder::worker`](crate::SuccessorBuilder::worker)), and is its predecessor for as
/// long as it runs.
///
/// It does not wait, and [`take_over`](crate::take_over) may be called after it.
pub fn is_worker() -> bool {
    let named = crate::env::of_this_process().handoff();
    let is_worker = matches!(
        named,
        Ok(Some(ChannelFd {
            worker: Some(_),
            ..
        }))
    );
    is_worker && matches!(heritage(), Heritage::Predecessor(predecessor) if predecessor.supervises)
}

/// Asks the supervisor for a restart, if there is one and it has committed.
pub(super) fn asked_supervisor() -> bool {
    match heritage() {
        Heritage::Predecessor(predecessor) if predecessor.supervises => {
            predecessor.serving.load(Ordering::Acquire)
                && predecessor
                    .channel
                    .post(&Frame::Trigger { id: 0 }, Vec::new())
                    .is_ok()
        }
        _ => false,
    }
}

/// Returns how many hand-overs led to this process: 0 if it was started by hand or by a service
/// manager, one more than its predecessor otherwise.
///
/// The first call may wait for the predecessor's greeting, which it sends right after the start.
pub fn generation() -> u32 {
    match heritage() {
        Heritage::Predecessor(predecessor) => predecessor.generation(),
        _ => 0,
    }
}

/// Whether the inherited listeners are this process's own: it has no predecessor, or that one has
/// let go of them, which it has not while both serve.
pub(crate) fn owns() -> bool {
    match heritage() {
        Heritage::Predecessor(predecessor) => predecessor.owning.load(Ordering::Acquire),
        Heritage::Failed(_) => false,
        Heritage::Nobody | Heritage::Malformed(_) => true,
    }
}

/// Whether nobody from before this process has the listeners any more that were delivered under `name`.
pub(crate) fn is_sole(name: &str) -> bool {
    matches!(heritage(), Heritage::Predecessor(predecessor) if predecessor.is_sole(name))
}

/// Whether the paths of Unix listeners are this process's to remove: a worker's are its supervisor's, while that lives.
pub(crate) fn owns_paths() -> bool {
    match heritage() {
        Heritage::Predecessor(predecessor) if is_worker() => {
            predecessor.ended.load(Ordering::Acquire)
        }
        _ => owns(),
    }
}

/// Whether this process may accept: it has no predecessor, or that one has let go, or serves beside.
pub(crate) fn may_accept() -> bool {
    match heritage() {
        Heritage::Predecessor(predecessor) => predecessor.serving.load(Ordering::Acquire),
        Heritage::Failed(_) => false,
        Heritage::Nobody | Heritage::Malformed(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::News;
    use crate::handoff::record::{Record, Socket};

    /// A predecessor that is only a channel.
    fn imagined() -> (Predecessor, Channel) {
        let (old, new) = Channel::pair().unwrap();
        (Predecessor::new(Channel::new(new), Legacy::default()), old)
    }

    #[tokio::test]
    async fn only_commit_lets_it_serve_whatever_else_is_said_before() {
        let (predecessor, old) = imagined();
        for frame in [
            Frame::Trigger { id: 0 },
            Frame::Hurry { ms: 1, spare: 0 },
            Frame::Unknown { kind: 200 },
        ] {
            old.post(&frame, Vec::new()).unwrap();
            // Dropped in the middle, as by a `select!`, and taken up again.
            let mut waiting = Box::pin(predecessor.take_over());
            let cx = &mut Context::from_waker(Waker::noop());
            for _ in 0..3 {
                assert!(waiting.as_mut().poll(cx).is_pending());
                tokio::task::yield_now().await;
            }
            assert!(!predecessor.serving.load(Ordering::Acquire));
        }
        old.post(&Frame::Commit, Vec::new()).unwrap();
        predecessor.take_over().await.unwrap();
        assert!(predecessor.serving.load(Ordering::Acquire));
        let unclaimed = Vec::new();
        assert_eq!(
            old.recv().await.unwrap().unwrap().frame,
            Frame::Ready { unclaimed }
        );
        drop(predecessor);
        assert!(old.recv().await.unwrap().is_none(), "READY was said twice");
    }

    #[tokio::test]
    async fn the_end_of_the_predecessor_lets_it_serve_and_an_abort_does_not() {
        let (predecessor, old) = imagined();
        drop(old);
        predecessor.take_over().await.unwrap();
        assert!(predecessor.serving.load(Ordering::Acquire));

        let (predecessor, old) = imagined();
        let reason = "no".to_owned();
        old.post(&Frame::Abort { reason }, Vec::new()).unwrap();
        drop(old);
        assert!(predecessor.take_over().await.unwrap_err().is_aborted());
        assert!(!predecessor.serving.load(Ordering::Acquire));
    }

    /// With listeners of these names.
    fn delivering(worker: bool, names: &[&str]) -> (Predecessor, Channel) {
        let delivered = |name: &&str| Delivered {
            record: Record {
                name: (*name).to_owned(),
                index: 0,
                socket: Socket::Plain,
            },
            fd: std::fs::File::open("/dev/null").unwrap().into(),
        };
        let legacy = Legacy {
            worker,
            delivered: names.iter().map(delivered).collect(),
            ..Legacy::default()
        };
        let (old, new) = Channel::pair().unwrap();
        (Predecessor::new(Channel::new(new), legacy), old)
    }

    fn sole(names: &[&str]) -> Frame {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Frame::Sole { names }
    }

    #[test]
    fn what_a_predecessor_leaves_is_this_process_s_alone_once_that_has_ended() {
        let (predecessor, old) = delivering(false, &["http", "admin", "group", "group"]);
        old.post(&sole(&["http", "group"]), Vec::new()).unwrap();
        assert!(!predecessor.is_sole("http"), "it may take it back");
        drop(old);
        assert!(predecessor.is_sole("http"));
        assert!(!predecessor.is_sole("admin"), "it was not said");
        assert!(!predecessor.is_sole("group"), "one of two was not meant");
    }

    #[tokio::test]
    async fn a_supervisor_has_closed_what_it_says_is_the_workers_alone() {
        let (predecessor, supervisor) = delivering(true, &["http", "group", "group"]);
        assert!(!predecessor.is_sole("http"));
        let said = sole(&["http", "group", "group"]);
        supervisor.post(&said, Vec::new()).unwrap();
        assert!(predecessor.is_sole("http") && predecessor.is_sole("group"));
        let heard = predecessor.channel.recv().await.unwrap().unwrap().frame;
        assert_eq!(heard, said, "it was only looked at");
    }

    #[test]
    fn that_a_predecessor_has_ended_alone_says_nothing_of_others() {
        let (predecessor, old) = delivering(false, &["http"]);
        drop(old);
        assert!(!predecessor.is_sole("http"));
    }

    /// A worker that is to relieve another: its supervisor, and the other one's end of the channel to that.
    fn relieving() -> (Predecessor, Channel, Channel) {
        let ((old, new), (relieved, fd)) = (Channel::pair().unwrap(), Channel::pair().unwrap());
        let record = Record {
            name: RELIEVED.to_owned(),
            index: 0,
            socket: Socket::Plain,
        };
        let legacy = Legacy {
            worker: true,
            relieves: true,
            delivered: vec![Delivered { record, fd }],
            ..Legacy::default()
        };
        let predecessor = Predecessor::new(Channel::new(new), legacy);
        assert!(predecessor.take_delivered().is_empty());
        (predecessor, old, relieved)
    }

    #[tokio::test]
    async fn a_worker_that_was_to_relieve_another_leaves_the_service_to_it_without_a_supervisor() {
        let (predecessor, old, _relieved) = relieving();
        drop(old);
        assert!(predecessor.take_over().await.unwrap_err().is_aborted());
        assert!(!predecessor.serving.load(Ordering::Acquire));
    }

    /// What the other one hears, and the way to it, while `predecessor` asks for news.
    async fn relieved_by(predecessor: &Predecessor, relieved: &Channel) -> Channel {
        let mut said = tokio::select! {
            biased;
            news = predecessor.news() => panic!("{news:?}"),
            said = relieved.recv() => said.unwrap().unwrap(),
        };
        let us = std::process::id();
        assert!(
            matches!(said.frame, Frame::Bridge { pid, heir: true, takes: true } if pid == us),
            "{said:?}"
        );
        let ended = relieved.recv().await.unwrap().is_none();
        assert!(ended, "the supervisor's end is gone with the supervisor");
        Channel::new(said.fds.pop().unwrap())
    }

    /// Which is how it is with a supervisor that lives; `met` is what that one had done of it.
    async fn relieves_after_commit(met: bool) {
        let (predecessor, old, relieved) = relieving();
        predecessor.takes_connections.store(true, Ordering::Release);
        old.post(&Frame::Commit, Vec::new()).unwrap();
        let (pid, heir, takes) = (7, false, false);
        let (lost, elder) = Channel::pair().unwrap();
        if met {
            let bridge = Frame::Bridge { pid, heir, takes };
            old.post(&bridge, vec![Arc::new(elder)]).unwrap();
        }
        drop((old, lost));
        predecessor.take_over().await.unwrap();
        assert!(predecessor.serving.load(Ordering::Acquire));
        let way = relieved_by(&predecessor, &relieved).await;
        way.post(&Frame::Trigger { id: 0 }, Vec::new()).unwrap();
        let heard = predecessor.news().await;
        assert!(matches!(heard, Some(News::Restart)), "{heard:?}");
        drop(way);
        assert!(predecessor.news().await.is_none());
    }

    #[tokio::test]
    async fn a_worker_has_the_one_before_hand_over_if_the_supervisor_did_not_live_to() {
        relieves_after_commit(false).await;
        relieves_after_commit(true).await;
    }

    #[tokio::test]
    async fn a_worker_that_has_met_the_one_before_says_nothing_to_it_without_a_supervisor() {
        let (predecessor, old, relieved) = relieving();
        old.post(&Frame::Commit, Vec::new()).unwrap();
        let (way, elder) = Channel::pair().unwrap();
        let (pid, heir, takes) = (7, false, false);
        let bridge = Frame::Bridge { pid, heir, takes };
        old.post(&bridge, vec![Arc::new(elder)]).unwrap();
        drop(old);
        predecessor.take_over().await.unwrap();
        way.post(&Frame::Trigger { id: 0 }, Vec::new()).unwrap();
        assert!(matches!(predecessor.news().await, Some(News::Restart)));
        drop(predecessor);
        assert!(relieved.recv().await.unwrap().is_none());
    }
}
