//! The old process's side of moving connections, with a successor that is only a channel.

use tokio::net::UnixStream;

use super::*;

fn imagined() -> (Mover, Channel) {
    let (ours, theirs) = Channel::pair().unwrap();
    let moves = Moves::new(Arc::new(ours), vec![7], Vec::new());
    (Mover::new(Arc::new(moves)), Channel::new(theirs))
}

async fn send(mover: &Mover, listener: u32, unread: &[u8]) -> Moving {
    let stream = Stream::Unix(UnixStream::pair().unwrap().0);
    let turn = mover.clone().turn().await.unwrap();
    turn.send(&stream, listener, 5, unread)
}

#[tokio::test]
async fn a_connection_is_whose_the_answer_says() {
    let (mover, successor) = imagined();
    let kept = send(&mover, 0, b"GE").await;
    let gone = send(&mover, 0, b"").await;
    assert!(!mover.0.are_settled());
    for (id, unread) in [(1, b"GE".to_vec()), (2, Vec::new())] {
        let message = successor.recv().await.unwrap().unwrap();
        let (listener, requests, peer) = (0, 5, "unix:".to_owned());
        assert_eq!(
            message.frame,
            Frame::Conn {
                name: String::new(),
                id,
                listener,
                requests,
                peer,
                unread
            }
        );
        assert_eq!(message.fds.len(), 1);
    }
    mover.0.answered(2, true);
    mover.0.answered(1, false);
    // An answer that nobody waits for changes nothing.
    mover.0.answered(9, true);
    assert!(gone.await);
    assert!(!kept.await);
    assert!(mover.0.are_settled());
}

#[tokio::test]
async fn what_a_dead_successor_has_not_answered_for_comes_back_and_nothing_more_is_sent() {
    let (mover, successor) = imagined();
    let (taken, waiting) = (send(&mover, 0, b"").await, send(&mover, 0, b"").await);
    drop(successor);
    let unsent = send(&mover, 0, b"").await;
    mover.0.answered(1, true);
    mover.0.take_back();
    assert!(taken.await);
    assert!(!waiting.await);
    assert!(!unsent.await);
    assert!(mover.turn().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn thirty_two_are_on_their_way_and_the_next_one_waits_until_a_silent_successor_is_given_up() {
    let (mover, _successor) = imagined();
    let mut moving = Vec::new();
    for _ in 0..AT_ONCE {
        moving.push(send(&mover, 0, b"").await);
    }
    let mut next = Box::pin(mover.clone().turn());
    assert!(timeout(SILENCE / 2, &mut next).await.is_err());
    mover.0.answered(1, true);
    assert!(moving.remove(0).await);
    let turn = next.await.unwrap();
    let stream = Stream::Unix(UnixStream::pair().unwrap().0);
    moving.push(turn.send(&stream, 0, 0, b""));
    // Nothing is answered from here on: whoever waits does not wait for ever.
    assert!(mover.clone().turn().await.is_none());
    // But what is on its way may still arrive, so it is nobody's yet.
    assert!(timeout(SILENCE, &mut moving[0]).await.is_err());
}

#[tokio::test]
async fn what_the_successor_does_not_listen_on_or_does_not_fit_is_not_sent() {
    let (mover, successor) = imagined();
    assert!(!send(&mover, 7, b"").await.await);
    assert!(!send(&mover, 0, &[0; UNREAD + 1]).await.await);
    assert!(mover.0.are_settled());
    drop(mover);
    assert!(successor.recv().await.unwrap().is_none());
}
