//! What this process tells its predecessor, and asks of what that has decided: the functions behind which the one
//! `Predecessor` of the process is.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::getppid;

use super::heritage::{Heritage, heritage};
use super::process;
use super::state::InheritedState;
use crate::env::{self, ChannelFd};
use crate::error::HandoffError;
use crate::inherited;
use crate::link::life::Life;
use crate::notify::Notify;
use crate::protocol::frame::Frame;

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
            .get_or_init(|| predecessor.take_over(inherited::settle_delivered))
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

/// Takes the state that the predecessor handed over under `name` with
/// [`SuccessorBuilder::state`](crate::SuccessorBuilder::state). `None` without a
/// predecessor, if the predecessor sent no state of that name, and from the second call on.
///
/// The first use of this crate in the process waits for the predecessor's greeting, which brings
/// listeners and state, ten seconds at most.
///
/// # The schema rule
///
/// `schema` is a number of the application's own. Raise it whenever older code would misread the
/// bytes. In a restart the *older* release writes and the newer release reads, and when a release is
/// taken back it is the other way round. So a release reads its own schema and the schema before.
/// It ignores a state of another schema, if it can start without, or
/// [declines](crate::decline): then the old process keeps serving, and logs the reason.
///
/// # Examples
///
/// ```
/// use graceful_listener::{decline, inherited_state};
///
/// let counter = match inherited_state("counter") {
///     None => 0,
///     Some(state) if state.schema == 1 => {
///         u64::from_be_bytes(state.bytes.try_into().unwrap_or_default())
///     }
///     Some(state) => {
///         let why = format!("counter has schema {}, and this release reads 1", state.schema);
///         decline(&why);
///         return;
///     }
/// };
/// # assert_eq!(counter, 0);
/// ```
pub fn inherited_state(name: &str) -> Option<InheritedState> {
    match heritage() {
        Heritage::Predecessor(predecessor) => predecessor.take_state(name),
        _ => None,
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

/// Waits, without bound, until the predecessor that started this process has ended, and then has the service manager
/// see that this process is its own child.
///
/// It was the predecessor's child when it became the main process of its unit, and systemd asks only of a *new* main
/// process whose child that is. For another's child it does not wait between SIGTERM and SIGKILL, and what is in flight
/// is lost. So a child of this process, forked for that, is the main process for a moment (`MAINPID=` twice), with
/// `NotifyAccess=main` as well as with `all`. If that fails, this process serves on as it was.
///
/// `graceful_server` does it; under another server spawn it when this process serves. Nothing is done without
/// `NOTIFY_SOCKET`, without a predecessor, or with one that did not start this process or is its supervisor; nor once this
/// process has handed over in its turn. While a hand-over is being tried its outcome is waited for.
///
/// What is not covered: a stop in the moment between the end of the predecessor and this; and a signal to the main process
/// while that is the child, which takes no notice of it.
///
/// It blocks its thread for the fork, which copies the page tables, tens of milliseconds for each gigabyte in use, and until
/// the child has spoken, a second at the most.
///
/// # Cancel safety
///
/// Dropping the future leaves everything as it was, or done. The child may be left as a zombie until this process ends.
///
/// # References
///
/// `service_set_main_pid` in systemd's `src/core/service.c`
pub async fn reparented() {
    let Heritage::Predecessor(predecessor) = heritage() else {
        return;
    };
    if predecessor.asked || predecessor.supervises || !Notify::from_env().is_enabled() {
        return;
    }
    let mut life = Life::of_stranger(predecessor.pid);
    // It still was the parent when it was looked up, so that this is the right process.
    if getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs()) == Some(predecessor.pid) {
        _ = life.ended().await;
    }
    process::take_main_place().await;
}

/// Whether a supervisor started this process as its worker
/// ([`SuccessorBuilder::worker`](crate::SuccessorBuilder::worker)), and is its predecessor for as
/// long as it runs.
///
/// It does not wait, and [`take_over`](crate::take_over) may be called after it.
pub fn is_worker() -> bool {
    let named = env::of_this_process().handoff();
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

/// Tells the supervisor, if there is one, that a process of which it does not know has the listeners: it took over from
/// this worker, which may be about to be replaced by another one.
pub(super) fn somebody_else_has_it() {
    match heritage() {
        Heritage::Predecessor(predecessor) if predecessor.supervises => {
            predecessor.channel.say_sole_of_none();
        }
        _ => {}
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
