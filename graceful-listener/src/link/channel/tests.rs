//! Two ends in one process.

use std::time::Duration;

use super::*;

fn ends() -> (Channel, Channel) {
    let (one, other) = Channel::pair().unwrap();
    (one, Channel::new(other))
}

fn state(size: usize) -> Frame {
    Frame::State {
        name: String::new(),
        schema: 1,
        more: false,
        blob: vec![7; size],
    }
}

#[tokio::test]
async fn frames_arrive_in_order_and_then_the_end() {
    let (one, other) = ends();
    assert!(one.post(&Frame::Trigger { id: 0 }, vec![]).unwrap());
    assert!(one.post(&Frame::Commit, vec![]).unwrap());
    drop(one);
    assert_eq!(
        other.recv().await.unwrap().unwrap().frame,
        Frame::Trigger { id: 0 }
    );
    assert_eq!(other.recv().await.unwrap().unwrap().frame, Frame::Commit);
    assert!(other.recv().await.unwrap().is_none());
}

#[tokio::test]
async fn more_than_the_socket_holds_is_sent_while_waiting_for_an_answer() {
    let (one, other) = ends();
    let frames = 20;
    let sent = (0..frames)
        .filter(|_| one.post(&state(60_000), vec![]).unwrap())
        .count();
    assert!(
        sent < frames,
        "the buffer takes everything: the test says nothing"
    );
    let reader = async {
        for _ in 0..frames {
            assert_eq!(other.recv().await.unwrap().unwrap().frame, state(60_000));
        }
        other.post(&Frame::Commit, vec![]).unwrap();
    };
    let (answer, ()) = tokio::join!(one.recv(), reader);
    assert_eq!(answer.unwrap().unwrap().frame, Frame::Commit);
}

#[tokio::test]
async fn a_receiver_that_is_dropped_in_the_middle_of_a_frame_loses_nothing() {
    let (one, other) = Channel::pair().unwrap();
    let mut other = UnixStream::from(other);
    let bytes = state(100).encode();
    std::io::Write::write_all(&mut other, &bytes[..50]).unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(20), one.recv())
            .await
            .is_err()
    );
    std::io::Write::write_all(&mut other, &bytes[50..]).unwrap();
    assert_eq!(one.recv().await.unwrap().unwrap().frame, state(100));
}

#[test]
fn the_synchronous_wait_ends_at_its_deadline() {
    let (one, _other) = ends();
    let error = one
        .recv_until(Instant::now() + Duration::from_millis(10))
        .unwrap_err();
    assert!(error.is_timed_out());
}

#[test]
fn a_frame_beyond_the_cap_is_refused_before_it_is_read() {
    let (one, other) = Channel::pair().unwrap();
    let mut other = UnixStream::from(other);
    std::io::Write::write_all(&mut other, &[0, 1, 0, 1, 3]).unwrap();
    let error = one
        .recv_until(Instant::now() + Duration::from_secs(5))
        .unwrap_err();
    assert!(error.is_protocol(), "{error}");
}

#[test]
fn descriptors_arrive_close_on_exec_with_the_frame_that_names_them() {
    let (one, other) = ends();
    let conn = Frame::Conn {
        name: String::new(),
        id: 1,
        listener: 0,
        requests: 0,
        peer: "".into(),
        unread: vec![],
    };
    let (fd, _keep) = UnixStream::pair().unwrap();
    one.post(&Frame::Trigger { id: 0 }, vec![]).unwrap();
    one.post(&conn, vec![Arc::new(fd.into())]).unwrap();
    one.post(&Frame::Commit, vec![]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    assert!(other.recv_until(deadline).unwrap().unwrap().fds.is_empty());
    let message = other.recv_until(deadline).unwrap().unwrap();
    assert_eq!((&message.frame, message.fds.len()), (&conn, 1));
    let flags = rustix::io::fcntl_getfd(&message.fds[0]).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    assert!(other.recv_until(deadline).unwrap().unwrap().fds.is_empty());
}

#[test]
fn a_frame_without_its_descriptors_or_descriptors_without_a_frame_are_refused() {
    let deadline = Instant::now() + Duration::from_secs(5);
    let conn = Frame::Conn {
        name: String::new(),
        id: 1,
        listener: 0,
        requests: 0,
        peer: "".into(),
        unread: vec![],
    };
    let (one, other) = ends();
    one.post(&conn, vec![]).unwrap();
    assert!(other.recv_until(deadline).unwrap_err().is_protocol());

    let (one, other) = ends();
    let (fd, _keep) = UnixStream::pair().unwrap();
    one.post(&Frame::Commit, vec![Arc::new(fd.into())]).unwrap();
    assert_eq!(
        other.recv_until(deadline).unwrap().unwrap().frame,
        Frame::Commit
    );
    assert!(other.recv_until(deadline).unwrap_err().is_protocol());
}
