//! A predecessor that is only a channel: what it says, and what comes of its end.

use std::task::{Context, Waker};

use super::*;
use crate::handoff::News;
use crate::protocol::record::{Record, Socket};

/// A predecessor that is only a channel.
fn imagined() -> (Predecessor, Channel) {
    let (old, new) = Channel::pair().unwrap();
    (
        Predecessor::new(Channel::new(new), Creator::default(), Legacy::default()),
        old,
    )
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
        let mut waiting = Box::pin(predecessor.take_over(Vec::new));
        let cx = &mut Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(waiting.as_mut().poll(cx).is_pending());
            tokio::task::yield_now().await;
        }
        assert!(!predecessor.serving.load(Ordering::Acquire));
    }
    old.post(&Frame::Commit, Vec::new()).unwrap();
    predecessor.take_over(Vec::new).await.unwrap();
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
    predecessor.take_over(Vec::new).await.unwrap();
    assert!(predecessor.serving.load(Ordering::Acquire));

    let (predecessor, old) = imagined();
    let reason = "no".to_owned();
    old.post(&Frame::Abort { reason }, Vec::new()).unwrap();
    drop(old);
    assert!(
        predecessor
            .take_over(Vec::new)
            .await
            .unwrap_err()
            .is_aborted()
    );
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
    (
        Predecessor::new(Channel::new(new), Creator::default(), legacy),
        old,
    )
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
    let predecessor = Predecessor::new(Channel::new(new), Creator::default(), legacy);
    assert!(predecessor.take_delivered().is_empty());
    (predecessor, old, relieved)
}

#[tokio::test]
async fn a_worker_that_was_to_relieve_another_leaves_the_service_to_it_without_a_supervisor() {
    let (predecessor, old, _relieved) = relieving();
    drop(old);
    assert!(
        predecessor
            .take_over(Vec::new)
            .await
            .unwrap_err()
            .is_aborted()
    );
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
    predecessor.take_over(Vec::new).await.unwrap();
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
    predecessor.take_over(Vec::new).await.unwrap();
    way.post(&Frame::Trigger { id: 0 }, Vec::new()).unwrap();
    assert!(matches!(predecessor.news().await, Some(News::Restart)));
    drop(predecessor);
    assert!(relieved.recv().await.unwrap().is_none());
}
