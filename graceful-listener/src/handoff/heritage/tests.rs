//! Greetings of imagined predecessors, over a real channel.

use super::*;
use crate::protocol::frame::{Hello, VERSIONS};

/// A channel to which an imagined predecessor sent `frames`, and its end.
fn after(frames: &[Frame]) -> (Channel, Channel) {
    let (old, new) = Channel::pair().unwrap();
    for frame in frames {
        old.post(frame, Vec::new()).unwrap();
    }
    (Channel::new(new), old)
}

#[test]
fn a_greeting_is_answered_and_raises_the_generation() {
    let (channel, old) = after(&[
        greeting((1, 9)),
        Frame::Unknown { kind: 200 },
        no_listeners(),
        Frame::Delivered,
    ]);
    let legacy = greet(&channel, None).unwrap().unwrap();
    assert_eq!((legacy.generation, legacy.delivered.len()), (42, 0));
    let answer = old.recv_until(soon()).unwrap().unwrap().frame;
    assert_eq!(answer, Frame::Hello(hello(42)));
    assert_eq!(hello(42).versions, VERSIONS);
}

#[test]
fn a_worker_is_of_the_generation_that_its_supervisor_says() {
    let (channel, old) = after(&[greeting((1, 1)), no_listeners(), Frame::Delivered]);
    let legacy = greet(&channel, Some(0)).unwrap().unwrap();
    assert!(legacy.worker && legacy.generation == 0);
    let answer = old.recv_until(soon()).unwrap().unwrap().frame;
    assert_eq!(answer, Frame::Hello(hello(0)));
}

#[test]
fn a_version_that_is_unknown_here_is_told_to_both_sides() {
    let (channel, old) = after(&[greeting((7, 9)), no_listeners()]);
    let Heritage::Failed(error) = inherit(channel, None, Creator::default()) else {
        panic!("it was understood");
    };
    assert!(
        error.is_protocol() && error.to_string().contains("7 to 9"),
        "{error}"
    );
    assert_eq!(
        old.recv_until(soon()).unwrap().unwrap().frame,
        Frame::Hello(hello(42))
    );
    let told = old.recv_until(soon()).unwrap().unwrap().frame;
    assert_eq!(
        told,
        Frame::Abort {
            reason: error.to_string()
        }
    );
}

#[test]
fn a_predecessor_that_dies_while_it_greets_is_nobody() {
    for frames in [vec![], vec![greeting((1, 1))]] {
        let (channel, old) = after(&frames);
        drop(old);
        assert!(matches!(
            inherit(channel, None, Creator::default()),
            Heritage::Nobody
        ));
    }
}

/// Nobody else has the listeners; what is missing of the state is as if there had been none.
#[test]
fn a_predecessor_that_dies_when_it_has_sent_its_listeners_leaves_them_to_us() {
    let listeners = vec![greeting((1, 1)), no_listeners()];
    for frames in [
        listeners.clone(),
        [listeners, vec![Frame::Delivered]].concat(),
    ] {
        let (channel, old) = after(&frames);
        drop(old);
        assert!(matches!(
            inherit(channel, None, Creator::default()),
            Heritage::Predecessor(_)
        ));
    }
}

#[test]
fn frames_out_of_turn_and_an_abort_end_the_greeting() {
    let (channel, _old) = after(&[Frame::Commit]);
    assert!(greet(&channel, None).err().unwrap().is_protocol());
    let (channel, _old) = after(&[greeting((1, 1)), Frame::Commit]);
    assert!(greet(&channel, None).err().unwrap().is_protocol());
    let reason = "no".to_owned();
    let (channel, _old) = after(&[greeting((1, 1)), Frame::Abort { reason }]);
    assert!(greet(&channel, None).err().unwrap().is_aborted());
}

fn greeting(versions: (u16, u16)) -> Frame {
    Frame::Hello(Hello {
        versions,
        pid: 1,
        generation: 41,
    })
}

fn no_listeners() -> Frame {
    Frame::Listeners {
        total: 0,
        records: Vec::new(),
    }
}

fn soon() -> Instant {
    Instant::now() + GREETING
}
