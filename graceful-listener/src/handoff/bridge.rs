//! From one worker of a supervisor to the next: the supervisor makes the way between them, and they are to each other as
//! any two generations. Guards laws 6, 9 and 10.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::attempt::Attempt;
use super::heritage::{Heritage, heritage};
use super::preflight;
use super::started::Started;
use super::state;
use super::successor::{Handover, SuccessorBuilder};
use crate::carried::Carried;
use crate::error::HandoffError;
use crate::link::channel::Channel;
use crate::link::inbox::Message;
use crate::listener::HandoffListener;
use crate::protocol::frame::Frame;

/// Tells the supervisor, with READY, that this process hands over to the next worker by itself: it hears
/// [`News::Prepare`](crate::News::Prepare) before that is started, and [`News::Replaced`](crate::News::Replaced) instead of
/// SIGTERM once it serves.
///
/// Call it before [`ready`](crate::ready), and ask for [`news`](crate::news) afterwards. Without a supervisor, or after
/// READY, it does nothing.
pub fn expect_replacement() {
    if let Heritage::Predecessor(predecessor) = heritage() {
        predecessor.relays.store(true, Ordering::Release);
    }
}

/// Tells the supervisor that this process serves again, because the worker that was in its place is dead
/// ([`Handover::gone`]). Without a supervisor it does nothing.
pub fn reclaimed() {
    if let Heritage::Predecessor(predecessor) = heritage() {
        if predecessor.supervises {
            let _ = predecessor.channel.post(&Frame::Reclaim, Vec::new());
        }
    }
}

/// A worker that serves in the place of this one. From [`News::Replaced`](crate::News::Replaced).
///
/// Dropping it means to go without it: then drain as after SIGTERM.
#[derive(Debug)]
pub struct Replacement {
    started: Started,
    takes: bool,
}

impl Replacement {
    /// Returns its process number.
    pub fn pid(&self) -> u32 {
        self.started.pid
    }

    /// Makes it the successor of this process, as after [`Successor::commit`](crate::Successor::commit): the listeners are
    /// its own, idle connections can [move](Handover::mover) there, and if it dies while this process still drains,
    /// [`Handover::gone`] says so and this one may serve again; say [`reclaimed`] then.
    ///
    /// The position in `listeners` is the number of a listener in [`Turn::send`](crate::Turn::send).
    ///
    /// # Errors
    ///
    /// [`is_busy`](HandoffError::is_busy) and [`is_handed_over`](HandoffError::is_handed_over) if this process has, or is
    /// about to have, a successor in another way. The other worker serves nevertheless.
    pub fn hand_over(self, listeners: &[&HandoffListener]) -> Result<Handover, HandoffError> {
        let listeners = listeners.iter().map(|one| Carried::from(*one).0).collect();
        Attempt::made(self.started, self.takes, listeners).map(Handover)
    }
}

pub(super) fn replaced(mut message: Message) -> Option<Replacement> {
    let Frame::Bridge { pid, takes, .. } = message.frame else {
        return None;
    };
    let channel = Arc::new(Channel::new(message.fds.pop()?));
    let started = Started::stranger(pid, Some(pid), channel);
    Some(Replacement { started, takes })
}

/// What the next worker is to start from, as the supervisor asks for it. Dropping it answers: from nothing.
#[derive(Debug)]
pub struct Preparation(Option<Arc<Channel>>);

impl Preparation {
    pub(super) fn new(supervisor: &Arc<Channel>) -> Self {
        Self(Some(Arc::clone(supervisor)))
    }

    /// Answers with the [state](SuccessorBuilder::state) of `successor`; or with why there must be no next worker now, if
    /// one of its [vetoes](SuccessorBuilder::veto) says so or the state is too large.
    pub fn answer(mut self, successor: &SuccessorBuilder) {
        let plan = &successor.0;
        let frames = preflight::unvetoed(plan).and_then(|()| state::frames(&plan.states));
        match (frames, self.0.take()) {
            (Ok(frames), Some(channel)) => {
                for frame in &frames {
                    let _ = channel.post(frame, Vec::new());
                }
                let _ = channel.post(&Frame::Delivered, Vec::new());
            }
            (Err(error), Some(channel)) => {
                let reason = error.reason();
                let _ = channel.post(&Frame::Abort { reason }, Vec::new());
            }
            (_, None) => {}
        }
    }
}

impl Drop for Preparation {
    fn drop(&mut self) {
        if let Some(channel) = self.0.take() {
            let _ = channel.post(&Frame::Delivered, Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::Successor;

    /// What the supervisor hears.
    async fn answer(prepare: impl FnOnce(Preparation)) -> Vec<Frame> {
        let (supervisor, ours) = Channel::pair().unwrap();
        prepare(Preparation::new(&Arc::new(Channel::new(ours))));
        let mut said = Vec::new();
        while let Some(message) = supervisor.recv().await.unwrap() {
            said.push(message.frame);
        }
        said
    }

    #[tokio::test]
    async fn a_worker_gives_its_state_or_says_why_it_must_not_be_replaced() {
        let builder = Successor::builder().state("numbers", 1, || vec![1, 2]);
        let said = answer(|preparation| preparation.answer(&builder)).await;
        assert!(
            matches!(&said[..], [Frame::State { blob, more: false, .. }, Frame::Delivered] if *blob == [1, 2])
        );

        let builder = builder.veto(|| Err("a migration runs".to_owned()));
        let said = answer(|preparation| preparation.answer(&builder)).await;
        assert!(matches!(&said[..], [Frame::Abort { reason }] if reason == "a migration runs"));

        assert_eq!(answer(drop).await, [Frame::Delivered]);
    }
}
