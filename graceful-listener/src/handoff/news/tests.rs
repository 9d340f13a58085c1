//! The new process's side of moved connections, with a predecessor that is only a channel.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::handoff::legacy::{Delivered, Legacy};
use crate::link::creator::Creator;
use crate::protocol::record::{Record, Socket};

/// A process that has committed, which had one listener.
fn imagined(listener: &HandoffListener) -> (Predecessor, Channel) {
    let (old, new) = Channel::pair().unwrap();
    let record = Record {
        name: listener.name().to_owned(),
        index: 0,
        socket: Socket::Tcp(listener.local_addr().as_tcp().unwrap()),
    };
    let fd = std::os::unix::net::UnixStream::pair().unwrap().0.into();
    let delivered = vec![Delivered { record, fd }];
    let legacy = Legacy {
        delivered,
        ..Legacy::default()
    };
    let predecessor = Predecessor::new(Channel::new(new), Creator::default(), legacy);
    predecessor.serving.store(true, Ordering::Release);
    predecessor.own(|_| ());
    (predecessor, old)
}

fn frame(id: u64, listener: u32) -> Frame {
    Frame::Conn {
        name: String::new(),
        id,
        listener,
        requests: 3,
        peer: "192.0.2.1:80".to_owned(),
        unread: b"GE".to_vec(),
    }
}

/// Both ends of a connection to `listener`.
async fn connected(listener: &HandoffListener) -> (TcpStream, Arc<OwnedFd>) {
    let addr = listener.local_addr().as_tcp().unwrap();
    let client = TcpStream::connect(addr).await.unwrap();
    let Ok((Stream::Tcp(stream), _)) = listener.accept().await else {
        panic!("not accepted");
    };
    let fd = OwnedFd::from(stream.into_std().unwrap());
    (client, Arc::new(fd))
}

async fn answered(old: &Channel) -> Frame {
    old.recv().await.unwrap().unwrap().frame
}

#[tokio::test]
async fn a_connection_that_is_taken_is_answered_for_and_then_served() {
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    let (predecessor, old) = imagined(&listener);
    let (mut client, fd) = connected(&listener).await;
    old.post(&frame(1, 0), vec![fd]).unwrap();
    let Some(News::Connection(moved)) = predecessor.news().await else {
        panic!("no connection");
    };
    assert!(moved.is_from(&listener));
    let other = HandoffListener::options()
        .name(listener.name())
        .bind("127.0.0.1:0")
        .unwrap();
    assert!(!moved.is_from(&other), "another port");
    assert_eq!(
        (moved.requests(), moved.peer().to_string()),
        (3, "192.0.2.1:80".to_owned())
    );
    let (mut stream, unread) = moved.accept().unwrap();
    assert_eq!(answered(&old).await, Frame::ConnAck { id: 1, taken: true });
    assert_eq!(unread, b"GE");
    client.write_all(b"T").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'T');
}

#[tokio::test]
async fn a_connection_that_is_not_wanted_or_not_understood_is_refused_and_lives() {
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    let (predecessor, old) = imagined(&listener);
    let (mut client, fd) = connected(&listener).await;
    old.post(&frame(1, 0), vec![Arc::clone(&fd)]).unwrap();
    drop(predecessor.news().await);
    // Of a listener that there is not, and with a descriptor that is no socket.
    old.post(&frame(2, 9), vec![Arc::clone(&fd)]).unwrap();
    let null = std::fs::File::open("/dev/null").unwrap().into();
    old.post(&frame(3, 0), vec![Arc::new(null)]).unwrap();
    old.post(&Frame::Reclaim, Vec::new()).unwrap();
    let mut news = Box::pin(predecessor.news());
    for id in 1..=3 {
        let answer = tokio::select! {
            biased;
            _ = &mut news => panic!("there is no news"),
            answer = answered(&old) => answer,
        };
        assert_eq!(answer, Frame::ConnAck { id, taken: false });
    }
    let mut stream = TcpStream::from_std(Arc::into_inner(fd).unwrap().into()).unwrap();
    stream.write_all(b"x").await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'x');
    drop(old);
    assert!(news.await.is_none(), "the predecessor is gone");
}

#[tokio::test]
async fn nothing_is_taken_before_commit() {
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    let (predecessor, old) = imagined(&listener);
    predecessor.serving.store(false, Ordering::Release);
    let (_client, fd) = connected(&listener).await;
    old.post(&frame(1, 0), vec![fd]).unwrap();
    assert!(predecessor.news().await.is_none());
}

#[tokio::test]
async fn what_is_decided_while_both_serve_is_heard_once() {
    for dies in [false, true] {
        let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
        let (predecessor, old) = imagined(&listener);
        predecessor.owning.store(false, Ordering::Release);
        if !dies {
            old.post(&Frame::Commit, Vec::new()).unwrap();
        }
        old.post(&Frame::Trigger { id: 0 }, Vec::new()).unwrap();
        drop(old);
        if !dies {
            assert!(matches!(predecessor.news().await, Some(News::Committed)));
        }
        assert!(matches!(predecessor.news().await, Some(News::Restart)));
        if dies {
            assert!(matches!(predecessor.news().await, Some(News::Committed)));
        }
        assert!(predecessor.news().await.is_none());
    }
}

#[tokio::test]
async fn a_predecessor_that_serves_on_says_so() {
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    let (predecessor, old) = imagined(&listener);
    let reason = "the canary sings".to_owned();
    old.post(&Frame::Abort { reason }, Vec::new()).unwrap();
    assert!(matches!(predecessor.news().await, Some(News::Dismissed)));
}

/// A way to the worker before this one, as the supervisor gives it.
fn bridge(supervisor: &Channel) -> Channel {
    let (elder, ours) = Channel::pair().unwrap();
    let (pid, heir, takes) = (7, false, true);
    let frame = Frame::Bridge { pid, heir, takes };
    supervisor.post(&frame, vec![Arc::new(ours)]).unwrap();
    elder
}

#[tokio::test]
async fn the_worker_before_is_heard_though_the_supervisor_is_gone() {
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    let (predecessor, supervisor) = imagined(&listener);
    let elder = bridge(&supervisor);
    drop(supervisor);
    let (_client, fd) = connected(&listener).await;
    // It numbers its listeners in a way of its own, so their names say which is meant.
    let Frame::Conn {
        id,
        requests,
        peer,
        unread,
        ..
    } = frame(1, 0)
    else {
        unreachable!();
    };
    let (listener_number, name) = (99, listener.name().to_owned());
    let named = Frame::Conn {
        id,
        listener: listener_number,
        requests,
        peer,
        unread,
        name,
    };
    elder.post(&named, vec![fd]).unwrap();
    // It does not say who serves.
    elder
        .post(
            &Frame::Abort {
                reason: "no".to_owned(),
            },
            Vec::new(),
        )
        .unwrap();
    elder.post(&Frame::Trigger { id: 0 }, Vec::new()).unwrap();
    let Some(News::Connection(moved)) = predecessor.news().await else {
        panic!("no connection");
    };
    assert!(moved.is_from(&listener));
    moved.accept().unwrap();
    assert_eq!(
        answered(&elder).await,
        Frame::ConnAck { id: 1, taken: true }
    );
    assert!(matches!(predecessor.news().await, Some(News::Restart)));
    drop(elder);
    assert!(predecessor.news().await.is_none());
}

#[tokio::test]
async fn the_worker_before_hears_that_this_one_leaves_also_if_they_meet_later() {
    let listener = HandoffListener::bind("127.0.0.1:0").unwrap();
    let (predecessor, supervisor) = imagined(&listener);
    predecessor.left.store(true, Ordering::Release);
    let elder = bridge(&supervisor);
    supervisor
        .post(&Frame::Trigger { id: 0 }, Vec::new())
        .unwrap();
    assert!(matches!(predecessor.news().await, Some(News::Restart)));
    assert_eq!(answered(&elder).await, Frame::Leave);
}
