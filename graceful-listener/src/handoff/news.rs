//! What a predecessor says after it has let go: connections that it moves here (laws 6 and 9).

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::net::{AddressFamily, getsockname};
use tokio::net::{TcpStream, UnixStream};

use super::bridge::{self, Preparation, Replacement};
use super::heritage::{Heritage, heritage};
use super::predecessor::Predecessor;
use crate::addr::ListenAddr;
use crate::error::HandoffError;
use crate::link::channel::Channel;
use crate::link::inbox::Message;
use crate::listener::HandoffListener;
use crate::log;
use crate::peer::PeerAddr;
use crate::protocol::frame::Frame;
use crate::stream::Stream;

/// Tells the predecessor, with READY, that this process takes connections which are idle there.
///
/// Call it before [`ready`](crate::ready), and ask for [`news`] afterwards: until a connection is
/// answered for, its client waits. Without a predecessor, or after READY, it does nothing.
pub fn take_connections() {
    if let Heritage::Predecessor(predecessor) = heritage() {
        predecessor.takes_connections.store(true, Ordering::Release);
    }
}

/// Waits, without bound, for the next thing that the predecessor says after its COMMIT. Nothing
/// once it is gone, or if there was none.
///
/// # Cancel safety
///
/// Dropping the future loses nothing.
pub async fn news() -> Option<News> {
    match heritage() {
        Heritage::Predecessor(predecessor) => predecessor.news().await,
        _ => None,
    }
}

/// What a predecessor says after its COMMIT.
#[derive(Debug)]
#[non_exhaustive]
pub enum News {
    /// A connection was idle there, and is to go on here.
    Connection(Box<Moved>),
    /// Somebody asked it for a restart. That is for this process to do, which serves.
    Restart,
    /// It served beside this process, and has let go, or died: this process serves alone.
    Committed,
    /// A supervisor asks for what the next worker is to start from. Answer it.
    Prepare(Preparation),
    /// The supervisor has another worker in the place of this one, which serves already. Hand over to it.
    Replaced(Box<Replacement>),
    /// It served beside this process, and goes on alone: this process is to stop. What it has accepted
    /// is its own to finish.
    Dismissed,
}

impl Predecessor {
    pub(super) async fn news(&self) -> Option<News> {
        if !self.serving.load(Ordering::Acquire) {
            return None;
        }
        loop {
            self.relieve();
            let elder = self.elder().clone();
            // One that breaks the protocol is as good as gone: what it has, it keeps.
            let news = tokio::select! {
                biased;
                said = self.channel.recv(), if !self.ended.load(Ordering::Acquire) => match said {
                    Ok(Some(message)) => self.understand(message),
                    _ => self.end(),
                },
                Some(said) = hear(elder.as_deref()) => match (said, elder) {
                    (Ok(Some(message)), Some(elder)) => Self::understand_elder(message, &self.names, &elder),
                    _ => {
                        self.elder().take();
                        None
                    }
                },
                else => return None,
            };
            if news.is_some() {
                return news;
            }
        }
    }

    /// The predecessor has closed the channel. If it still runs and has not sent COMMIT, it keeps the service.
    fn end(&self) -> Option<News> {
        self.ended.store(true, Ordering::Release);
        self.questions.close();
        if !self.owning.load(Ordering::Acquire) && self.creator.lives() {
            return Some(News::Dismissed);
        }
        self.own(log::promoted).then_some(News::Committed)
    }

    fn understand(&self, message: Message) -> Option<News> {
        match message.frame {
            Frame::Conn { .. } => connection(message, &self.names, &self.channel),
            Frame::Bridge { heir: true, .. } => {
                bridge::replaced(message).map(Box::new).map(News::Replaced)
            }
            Frame::Bridge { heir: false, .. } => {
                self.meet(message.fds);
                None
            }
            Frame::Prepare => Some(News::Prepare(Preparation::new(&self.channel))),
            Frame::Commit => {
                self.own(log::committed);
                Some(News::Committed)
            }
            Frame::Trigger { .. } => Some(News::Restart),
            Frame::Outcome { id, outcome } => {
                self.questions.hear(id, outcome);
                None
            }
            Frame::Abort { .. } => Some(News::Dismissed),
            Frame::Sole { names } => {
                self.hear_sole(&names);
                None
            }
            _ => None,
        }
    }

    /// What the worker before this one says. Who serves is the supervisor's to say.
    fn understand_elder(message: Message, names: &[String], elder: &Arc<Channel>) -> Option<News> {
        match message.frame {
            Frame::Conn { .. } => connection(message, names, elder),
            Frame::Trigger { .. } => Some(News::Restart),
            _ => None,
        }
    }

    /// The way to the worker before this one.
    fn meet(&self, mut fds: Vec<OwnedFd>) {
        let Some(channel) = fds.pop().map(Channel::new) else {
            return;
        };
        if self.left.load(Ordering::Acquire) {
            let _ = channel.post(&Frame::Leave, Vec::new());
        }
        *self.elder() = Some(Arc::new(channel));
    }
}

/// Nothing without one.
async fn hear(channel: Option<&Channel>) -> Option<Result<Option<Message>, HandoffError>> {
    Some(channel?.recv().await)
}

fn connection(message: Message, names: &[String], from: &Arc<Channel>) -> Option<News> {
    let moved = moved(message, names, from)?;
    Some(News::Connection(Box::new(moved)))
}

/// The connection that a frame brings. One that cannot be understood is refused.
fn moved(mut message: Message, names: &[String], from: &Arc<Channel>) -> Option<Moved> {
    let Frame::Conn {
        id,
        listener,
        requests,
        peer,
        unread,
        name,
    } = message.frame
    else {
        return None;
    };
    let refusal = Answer {
        id,
        channel: Some(Arc::clone(from)),
    };
    let numbered = || names.get(listener as usize).cloned();
    let name = if name.is_empty() { numbered()? } else { name };
    let stream = stream(message.fds.pop()?).ok()?;
    Some(Moved {
        listener: name,
        peer: peer_of(&peer, &stream)?,
        stream,
        requests,
        unread,
        answer: refusal,
    })
}

/// The family is read from the socket's own address, because macOS has no SO_DOMAIN.
fn stream(fd: OwnedFd) -> io::Result<Stream> {
    Ok(match getsockname(&fd)?.address_family() {
        AddressFamily::UNIX => Stream::Unix(UnixStream::from_std(fd.into())?),
        _ => Stream::Tcp(TcpStream::from_std(fd.into())?),
    })
}

/// The peer as the first process knew it: a socket forgets it once the peer has reset it.
fn peer_of(text: &str, stream: &Stream) -> Option<PeerAddr> {
    match stream {
        Stream::Tcp(_) => Some(PeerAddr::Tcp(text.parse::<SocketAddr>().ok()?)),
        Stream::Unix(_) => stream.peer_addr().ok(),
    }
}

/// A connection that was idle in the predecessor. Dropping it is refusing it: the predecessor goes
/// on with it, and closes it politely.
#[derive(Debug)]
pub struct Moved {
    listener: String,
    stream: Stream,
    peer: PeerAddr,
    requests: u64,
    unread: Vec<u8>,
    answer: Answer,
}

impl Moved {
    /// Returns whether it was accepted from what is `listener` here: the name is the same, and for
    /// TCP the port.
    pub fn is_from(&self, listener: &HandoffListener) -> bool {
        let same_socket = match (&self.stream, listener.local_addr()) {
            (Stream::Tcp(stream), ListenAddr::Tcp(addr)) => stream
                .local_addr()
                .is_ok_and(|local| local.port() == addr.port()),
            (Stream::Unix(_), ListenAddr::Unix(_)) => true,
            _ => false,
        };
        same_socket && listener.name() == self.listener
    }

    /// Returns who is at its other end.
    pub fn peer(&self) -> &PeerAddr {
        &self.peer
    }

    /// Returns how many requests were begun on it, in all processes that had it.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Takes it: the stream, and what was read from it before and not been understood.
    ///
    /// The predecessor is told first, so that it never goes on with a connection that is served
    /// here. Nothing if that cannot be said, because it does not read: then the connection is lost.
    /// A predecessor that is gone does not have to know.
    pub fn accept(self) -> Option<(Stream, Vec<u8>)> {
        self.answer.give(true).then_some((self.stream, self.unread))
    }
}

/// The answer that a connection is owed: no, if it is not given.
#[derive(Debug)]
struct Answer {
    id: u64,
    channel: Option<Arc<Channel>>,
}

impl Answer {
    fn give(mut self, taken: bool) -> bool {
        let frame = Frame::ConnAck { id: self.id, taken };
        let channel = self.channel.take();
        channel.is_some_and(|channel| channel.post(&frame, Vec::new()).unwrap_or(true))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(channel) = self.channel.take() {
            let (id, taken) = (self.id, false);
            let _ = channel.post(&Frame::ConnAck { id, taken }, Vec::new());
        }
    }
}

#[cfg(test)]
mod tests;
