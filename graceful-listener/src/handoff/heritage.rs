//! Who started this process: a predecessor with listeners to hand over, or nobody. Found out
//! once, by whoever asks first, without a runtime: the listeners are needed before there is one.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

use super::channel::Channel;
use super::error::HandoffError;
use super::frame::{Frame, Hello, VERSIONS};
use super::inbox::Message;
use super::predecessor::Predecessor;
use super::record::Record;
use crate::check::Fault;
use crate::env::{ChannelFd, Variables};
use crate::error::ListenError;
use crate::inherited::numbers;
use crate::log;

/// How long the predecessor may take to send its listeners. It does so right after the start.
const GREETING: Duration = Duration::from_secs(10);

pub(crate) enum Heritage {
    Nobody,
    Malformed(ListenError),
    /// A predecessor is there, but it could not be understood.
    Failed(HandoffError),
    Predecessor(Predecessor),
}

/// A listener as it came through the channel.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) record: Record,
    pub(crate) fd: OwnedFd,
}

/// Answers from then on what it found at the first call, which may wait for the predecessor's
/// listeners, ten seconds at most.
pub(crate) fn heritage() -> &'static Heritage {
    static HERITAGE: OnceLock<Heritage> = OnceLock::new();
    HERITAGE.get_or_init(|| match Variables(std::env::var_os).handoff() {
        Ok(None) => Heritage::Nobody,
        Err(error) => Heritage::Malformed(error),
        Ok(Some(named)) => match open(named) {
            Err(_) => {
                log::stale_channel(named.fd);
                Heritage::Nobody
            }
            Ok(socket) => match greet(Channel::new(socket)) {
                Ok(Some(predecessor)) => Heritage::Predecessor(predecessor),
                // It died before it had sent them; nobody else serves, so neither do we wait.
                Ok(None) => Heritage::Nobody,
                Err(error) => Heritage::Failed(error),
            },
        },
    })
}

/// Takes the channel if the descriptor is the socket that the variable means. If not, the
/// variable was inherited by a descendant that the channel was not meant for.
fn open(named: ChannelFd) -> Result<OwnedFd, Fault> {
    let (socket, ()) = numbers::take(named.fd, |fd| {
        let stat = fstat(fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket if stat.st_ino == named.ino => Ok(()),
            _ => Err(Fault::Closed),
        }
    })?;
    fcntl_setfd(&socket, fcntl_getfd(&socket)? | FdFlags::CLOEXEC)?;
    fcntl_setfl(&socket, fcntl_getfl(&socket)? | OFlags::NONBLOCK)?;
    Ok(socket)
}

/// Reads HELLO and all listeners, and answers with our HELLO.
fn greet(channel: Channel) -> Result<Option<Predecessor>, HandoffError> {
    let deadline = Instant::now() + GREETING;
    let Some(message) = next(&channel, deadline)? else { return Ok(None) };
    let Frame::Hello(theirs) = message.frame else {
        return Err(HandoffError::protocol("its first frame is not HELLO"));
    };
    let generation = theirs.generation.saturating_add(1);
    let ours = Hello { versions: VERSIONS, pid: std::process::id(), generation };
    let common = ours.common(&theirs);
    channel.post(&Frame::Hello(ours), Vec::new())?;
    if common.is_none() {
        let (min, max) = theirs.versions;
        let reason = format!("its versions {min} to {max} are all unknown here");
        channel.post(&Frame::Abort { reason: "no common version".into() }, Vec::new())?;
        return Err(HandoffError::protocol(reason));
    }
    let delivered = receive(&channel, deadline)?;
    Ok(delivered.map(|delivered| Predecessor::new(channel, generation, delivered)))
}

/// Reads LISTENERS frames until they are complete.
fn receive(
    channel: &Channel,
    deadline: Instant,
) -> Result<Option<Vec<Delivered>>, HandoffError> {
    let mut delivered = Vec::new();
    loop {
        let Some(message) = next(channel, deadline)? else { return Ok(None) };
        let Frame::Listeners { total, records } = message.frame else {
            return Err(HandoffError::protocol("a frame that is out of turn"));
        };
        let pairs = records.into_iter().zip(message.fds);
        delivered.extend(pairs.map(|(record, fd)| Delivered { record, fd }));
        match delivered.len().cmp(&(total as usize)) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => return Ok(Some(delivered)),
            std::cmp::Ordering::Greater => {
                return Err(HandoffError::protocol("more listeners than were announced"));
            }
        }
    }
}

/// The next frame that means something before READY. State is for an application that asks for
/// it; nothing here does.
fn next(channel: &Channel, deadline: Instant) -> Result<Option<Message>, HandoffError> {
    loop {
        match channel.recv_until(deadline)? {
            Some(Message { frame: Frame::Abort { reason }, .. }) => {
                return Err(HandoffError::aborted(reason));
            }
            Some(Message { frame: Frame::State { .. } | Frame::Unknown { .. }, .. }) => {}
            message => return Ok(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A channel to which an imagined predecessor sent `frames`, and its end.
    fn after(frames: &[Frame]) -> (Channel, Channel) {
        let (old, new) = Channel::pair().unwrap();
        for frame in frames {
            old.post(frame, Vec::new()).unwrap();
        }
        (Channel::new(new), old)
    }

    fn hello(versions: (u16, u16)) -> Frame {
        Frame::Hello(Hello { versions, pid: 1, generation: 41 })
    }

    fn none() -> Frame {
        Frame::Listeners { total: 0, records: Vec::new() }
    }

    #[test]
    fn a_greeting_is_answered_and_raises_the_generation() {
        let (channel, old) = after(&[hello((1, 9)), Frame::Unknown { kind: 200 }, none()]);
        let predecessor = greet(channel).unwrap().unwrap();
        assert_eq!(predecessor.generation(), 42);
        let answer = old.recv_until(Instant::now() + GREETING).unwrap().unwrap().frame;
        let Frame::Hello(answer) = answer else { panic!("{answer:?}") };
        assert_eq!((answer.versions, answer.generation), (VERSIONS, 42));
    }

    #[test]
    fn a_version_that_is_unknown_here_is_told_to_both_sides() {
        let (channel, old) = after(&[hello((7, 9)), none()]);
        let error = greet(channel).err().unwrap();
        assert!(error.is_protocol() && error.to_string().contains("7 to 9"), "{error}");
        let deadline = Instant::now() + GREETING;
        assert!(matches!(old.recv_until(deadline).unwrap().unwrap().frame, Frame::Hello(_)));
        assert!(matches!(old.recv_until(deadline).unwrap().unwrap().frame, Frame::Abort { .. }));
    }

    #[test]
    fn a_predecessor_that_dies_while_it_greets_is_nobody() {
        for frames in [vec![], vec![hello((1, 1))]] {
            let (channel, old) = after(&frames);
            drop(old);
            // Our HELLO may fail to be sent; that, too, says that it is gone.
            assert!(!matches!(greet(channel), Ok(Some(_))));
        }
    }

    #[test]
    fn frames_out_of_turn_and_an_abort_end_the_greeting() {
        let (channel, _old) = after(&[Frame::Commit]);
        assert!(greet(channel).err().unwrap().is_protocol());
        let (channel, _old) = after(&[hello((1, 1)), Frame::Commit]);
        assert!(greet(channel).err().unwrap().is_protocol());
        let (channel, _old) = after(&[hello((1, 1)), Frame::Abort { reason: "no".into() }]);
        assert!(greet(channel).err().unwrap().is_aborted());
    }
}
