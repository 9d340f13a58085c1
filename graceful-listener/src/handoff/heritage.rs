//! Who started this process: a predecessor with listeners to hand over, or nobody. Found out
//! once, by whoever asks first, without a runtime: the listeners are needed before there is one.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

use super::introduction::{agree, hello};
use super::legacy::{Delivered, Legacy};
use super::predecessor::Predecessor;
use super::state::{Arrivals, InheritedState};
use crate::env::{ChannelFd, of_this_process};
use crate::error::HandoffError;
use crate::error::ListenError;
use crate::fault::Fault;
use crate::inherited::numbers;
use crate::link::channel::Channel;
use crate::link::creator::{Creator, SILENT_END};
use crate::link::inbox::Message;
use crate::log;
use crate::protocol::frame::Frame;

/// How long the predecessor may take to send its listeners and state. It does so right after the
/// start.
pub(crate) const GREETING: Duration = Duration::from_secs(10);

pub(crate) enum Heritage {
    Nobody,
    Malformed(ListenError),
    /// A predecessor is there, but it could not be understood.
    Failed(HandoffError),
    Predecessor(Box<Predecessor>),
}

impl Heritage {
    /// From a predecessor that did not start this process.
    pub(crate) fn asked_for(mut self) -> Self {
        if let Self::Predecessor(predecessor) = &mut self {
            predecessor.asked = true;
        }
        self
    }
}

/// Answers from then on what it found at the first call, which may wait for the predecessor's
/// listeners, ten seconds at most.
pub(crate) fn heritage() -> &'static Heritage {
    HERITAGE.get_or_init(from_environment)
}

static HERITAGE: OnceLock<Heritage> = OnceLock::new();

/// Whether nobody has asked yet.
pub(crate) fn is_open() -> bool {
    HERITAGE.get().is_none()
}

/// Answers from then on what was found elsewhere, unless somebody has asked already.
pub(crate) fn settle(found: Heritage) -> Result<(), HandoffError> {
    HERITAGE.set(found).map_err(|_| HandoffError::too_late())
}

/// Whoever started this process.
pub(crate) fn from_environment() -> Heritage {
    match of_this_process().handoff() {
        Ok(None) => Heritage::Nobody,
        Err(error) => Heritage::Malformed(error),
        Ok(Some(named)) => match open(named) {
            Err(_) => {
                log::stale_channel(named.fd);
                Heritage::Nobody
            }
            Ok(socket) => {
                let channel = Channel::new(socket);
                let creator = Creator::of(&channel);
                inherit(channel, named.worker, creator)
            }
        },
    }
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

/// Meets the predecessor. If that fails it is told why, for it waits for us. A supervisor says
/// which generation we are: it is none itself.
pub(crate) fn inherit(channel: Channel, worker: Option<u32>, creator: Creator) -> Heritage {
    match greet(&channel, worker) {
        Ok(Some(legacy)) => {
            let predecessor = Predecessor::new(channel, creator, legacy);
            Heritage::Predecessor(Box::new(predecessor))
        }
        Ok(None) if creator.lives() => Heritage::Failed(HandoffError::aborted(SILENT_END)),
        // It died before it had sent everything, so there is nobody to wait for.
        Ok(None) => Heritage::Nobody,
        Err(error) => {
            let reason = error.to_string();
            let _ = channel.post(&Frame::Abort { reason }, Vec::new());
            Heritage::Failed(error)
        }
    }
}

/// Reads HELLO, answers with ours, and reads listeners and state.
fn greet(channel: &Channel, worker: Option<u32>) -> Result<Option<Legacy>, HandoffError> {
    let deadline = Instant::now() + GREETING;
    let Some(message) = next(channel, deadline)? else {
        return Ok(None);
    };
    let Frame::Hello(theirs) = message.frame else {
        return Err(HandoffError::protocol("its first frame is not HELLO"));
    };
    let generation = worker.unwrap_or_else(|| theirs.generation.saturating_add(1));
    // If the predecessor is gone, the next read says so.
    let _ = channel.post(&Frame::Hello(hello(generation)), Vec::new());
    agree(&theirs)?;
    let Some(delivered) = receive(channel, deadline)? else {
        return Ok(None);
    };
    // If it died in the midst of its state, we have its listeners and nobody else has.
    let mut relieves = false;
    let states = receive_state(channel, deadline, &mut relieves)?.unwrap_or_default();
    Ok(Some(Legacy {
        pid: theirs.pid,
        generation,
        worker: worker.is_some(),
        relieves,
        delivered,
        states,
    }))
}

/// Reads LISTENERS frames until they are complete.
fn receive(channel: &Channel, deadline: Instant) -> Result<Option<Vec<Delivered>>, HandoffError> {
    let mut delivered = Vec::new();
    loop {
        let Some(message) = next(channel, deadline)? else {
            return Ok(None);
        };
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

/// Reads STATE frames until DELIVERED.
fn receive_state(
    channel: &Channel,
    deadline: Instant,
    relieves: &mut bool,
) -> Result<Option<Vec<(String, InheritedState)>>, HandoffError> {
    let mut arrivals = Arrivals::default();
    while let Some(message) = next(channel, deadline)? {
        match message.frame {
            Frame::State {
                name,
                schema,
                more,
                blob,
            } => arrivals.add(name, schema, more, blob)?,
            Frame::Relief => *relieves = true,
            Frame::Delivered => return arrivals.finish().map(Some),
            _ => return Err(HandoffError::protocol("a frame that is out of turn")),
        }
    }
    Ok(None)
}

/// The next frame that means something before READY.
fn next(channel: &Channel, deadline: Instant) -> Result<Option<Message>, HandoffError> {
    loop {
        match channel.recv_until(deadline)? {
            Some(Message {
                frame: Frame::Abort { reason },
                ..
            }) => {
                return Err(HandoffError::aborted(reason));
            }
            Some(Message {
                frame: Frame::Again | Frame::Unknown { .. },
                ..
            }) => {}
            message => return Ok(message),
        }
    }
}

#[cfg(test)]
mod tests;
