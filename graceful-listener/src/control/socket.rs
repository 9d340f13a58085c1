//! The server's end of the control socket: who may come in, and what they want. Guards law 8: it
//! is a listener like the others, and moves with them to the next generation.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::process::geteuid;
use tokio::net::UnixStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::TAKEOVER;
use super::request::{ControlCommand, ControlRequest};
use crate::addr::ListenAddr;
use crate::bind::{BoundPath, Identity};
use crate::error::HandoffError;
use crate::error::ListenError;
use crate::handoff::candidate::Candidate;
use crate::handoff::generation;
use crate::handoff::introduction::{agree, hello};
use crate::inherited::{self, What};
use crate::link::channel::Channel;
use crate::listener::HandoffListener;
use crate::log;
use crate::protocol::frame::{Frame, Hello};
use crate::protocol::record::CONTROL;
use crate::stream::Stream;

/// Nobody else's business.
const MODE: u32 = 0o600;
/// How long a client may take to say what it wants.
const GREETING: Duration = Duration::from_secs(5);
/// How many may be about to say it. When more come, the one that has been silent for longest goes,
/// but for one that has not had the time to speak.
const MOST: usize = 64;
const TIME_TO_SPEAK: Duration = Duration::from_millis(100);
/// After an error of accept(2), which for want of descriptors would come again at once.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket in the file system by which a running server is reached: by [`command`](crate::command())
/// and by processes that want to [take over](crate::take_over).
///
/// It belongs to the generation that serves. It is handed over with the other listeners, the path
/// never goes away meanwhile, and it is removed at the final stop if it is still the same file. Its
/// mode is 0600, and whoever connects has to be of this process's user or root (SO_PEERCRED); so a
/// container that shares the folder has to share the user, too.
///
/// `graceful-server` does what is asked for. A server of your own awaits [`next`](Self::next) beside
/// its accept loop, and passes [`listener`](Self::listener) to the successor with the others.
///
/// # References
///
/// [`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html)
#[derive(Debug)]
pub struct ControlSocket {
    listener: HandoffListener,
    arriving: JoinSet<Option<ControlRequest>>,
    /// The same by age, the oldest first.
    guests: VecDeque<Guest>,
}

/// Somebody who has not said yet what it wants.
#[derive(Debug)]
struct Guest {
    since: Instant,
    /// Set by whoever decides what becomes of it: its task, which has heard it, or `send_away`.
    decided: Arc<AtomicBool>,
    channel: Weak<Channel>,
    task: AbortHandle,
}

impl Guest {
    /// Whether all that it has said is read, so that it is not waiting for us.
    fn is_silent(&self) -> bool {
        let channel = self.channel.upgrade();
        let had_time = self.since.elapsed() >= TIME_TO_SPEAK;
        had_time && channel.is_some_and(|channel| !channel.has_unread())
    }

    /// It may ask again, so it must not have been heard.
    fn send_away(self) {
        if self.decided.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(channel) = self.channel.upgrade() {
            let _ = channel.post(&Frame::Again, Vec::new());
            abort(&channel, "it said nothing, and others came meanwhile");
        }
        self.task.abort();
    }
}

impl ControlSocket {
    /// Takes the control socket of the predecessor if it is the one at `path`, or binds one there.
    ///
    /// A socket that a dead server left behind is replaced. Claim it before
    /// [`ready`](crate::ready()), as all listeners.
    ///
    /// # Errors
    ///
    /// [`is_addr_in_use`](ListenError::is_addr_in_use) if a living server is behind the path:
    /// [take over](crate::take_over) from it, or stop it. And those of
    /// [`HandoffListener::bind`](crate::HandoffListener::bind).
    pub fn bind(path: impl AsRef<Path>) -> Result<Self, ListenError> {
        Ok(Self {
            listener: listener(path.as_ref())?,
            arriving: JoinSet::new(),
            guests: VecDeque::new(),
        })
    }

    /// Returns the listener, to be handed over with the others.
    pub fn listener(&self) -> &HandoffListener {
        &self.listener
    }

    /// Waits, without bound, until somebody who may asks for something.
    ///
    /// Whoever may not, says nothing within five seconds or speaks another protocol is sent away; so is
    /// the oldest of 64 that say nothing when one more comes, for nobody is to wait for them.
    /// After a hand-over nobody comes, until the listener is taken back.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nobody.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn next(&mut self) -> ControlRequest {
        loop {
            let room = self.has_room();
            let Self {
                listener, arriving, ..
            } = self;
            tokio::select! {
                Some(arrived) = arriving.join_next() => {
                    if let Ok(Some(request)) = arrived {
                        return request;
                    }
                }
                accepted = listener.accept(), if room => match accepted {
                    Ok((Stream::Unix(stream), _)) => self.welcome(stream),
                    Ok(_) => {}
                    Err(_) => sleep(PAUSE).await,
                },
                () = sleep(TIME_TO_SPEAK), if !room => {}
            }
        }
    }

    /// Those whose words wait to be read are done in a moment.
    fn has_room(&mut self) -> bool {
        self.guests.retain(|guest| !guest.task.is_finished());
        self.arriving.len() < MOST || self.guests.iter().any(Guest::is_silent)
    }

    fn welcome(&mut self, stream: UnixStream) {
        let visible = match admitted(&stream) {
            Ok(pid) => pid,
            Err(refused) => return refuse(stream, &refused),
        };
        let Ok(stream) = stream.into_std() else {
            return;
        };
        if self.arriving.len() >= MOST {
            let oldest = self.guests.iter().position(Guest::is_silent);
            if let Some(guest) = oldest.and_then(|index| self.guests.remove(index)) {
                guest.send_away();
            }
        }
        let channel = Arc::new(Channel::new(OwnedFd::from(stream)));
        let decided = Arc::new(AtomicBool::new(false));
        self.guests.push_back(Guest {
            since: Instant::now(),
            decided: Arc::clone(&decided),
            channel: Arc::downgrade(&channel),
            task: self.arriving.spawn(async move {
                let request = receive(channel, visible).await;
                request.filter(|_| !decided.swap(true, Ordering::AcqRel))
            }),
        });
    }
}

/// By name and path; or, where the predecessor has the folder mounted elsewhere, by what the path
/// leads to here.
fn listener(path: &Path) -> Result<HandoffListener, ListenError> {
    let options = HandoffListener::options().name(CONTROL).mode(MODE);
    let addr = ListenAddr::Unix(crate::addr::absolute(path));
    match options.from_env_or_bind(&addr) {
        Err(error) if error.is_address_mismatch() => {}
        result => return result,
    }
    let taken = match options.bind(&addr) {
        Err(error) if error.is_addr_in_use() => error,
        result => return result,
    };
    let (name, offer) = inherited::one(What::Listener, Some(CONTROL))?;
    let theirs = offer.path.as_ref().map(BoundPath::identity);
    match Identity::of_socket(path) {
        Some(here) if theirs == Some(here) => {
            let ours = BoundPath::new(crate::addr::absolute(path), here);
            Ok(HandoffListener::new(
                name,
                addr,
                offer.fd,
                Some(ours),
                offer.provenance,
                true,
            ))
        }
        _ => Err(taken),
    }
}

/// One connection, until it is known what it is for.
async fn receive(channel: Arc<Channel>, visible: Option<u32>) -> Option<ControlRequest> {
    let wanted = timeout(GREETING, wanted(&channel)).await;
    // It is gone, or says nothing.
    let (theirs, text) = understood(&channel, wanted.ok()?)??;
    if text != TAKEOVER {
        return Some(ControlRequest::Command(ControlCommand::new(text, channel)));
    }
    let greeted = timeout(GREETING, greeted(&channel)).await;
    understood(&channel, greeted.ok()?)??;
    let candidate = Candidate::new(theirs.pid, visible, channel);
    Some(ControlRequest::TakeOver(candidate))
}

/// What was said; if it was nonsense its sender is told, with the versions that we speak, for it may know better what to
/// do about it.
fn understood<T>(channel: &Channel, said: Result<T, HandoffError>) -> Option<T> {
    said.inspect_err(|error| {
        let _ = channel.post(&Frame::Hello(hello(generation())), Vec::new());
        abort(channel, &error.to_string());
        log::sent_away(error);
    })
    .ok()
}

/// Greets one that wants to take over and waits for its greeting. Only one that lives up to the protocol is worth that
/// others have to wait for it.
async fn greeted(channel: &Channel) -> Result<Option<()>, HandoffError> {
    channel.post(&Frame::Hello(hello(generation())), Vec::new())?;
    while let Some(message) = channel.recv().await? {
        match message.frame {
            Frame::Hello(theirs) => return agree(&theirs).map(Some),
            Frame::Abort { reason } => return Err(HandoffError::aborted(reason)),
            Frame::Unknown { .. } => {}
            _ => return Err(HandoffError::protocol("HELLO is answered by HELLO")),
        }
    }
    Ok(None)
}

/// Who it is and what it wants.
async fn wanted(channel: &Channel) -> Result<Option<(Hello, String)>, HandoffError> {
    let mut greeting = None;
    while let Some(message) = channel.recv().await? {
        match (message.frame, greeting.take()) {
            (Frame::Hello(theirs), None) => {
                agree(&theirs)?;
                greeting = Some(theirs);
            }
            (Frame::Command { text }, Some(theirs)) => return Ok(Some((theirs, text))),
            (Frame::Unknown { .. }, before) => greeting = before,
            _ => return Err(HandoffError::protocol("a greeting is HELLO and COMMAND")),
        }
    }
    Ok(None)
}

/// Its process number, if it is visible here, provided that it is ours or root's.
fn admitted(stream: &UnixStream) -> Result<Option<u32>, String> {
    let peer = stream.peer_cred().map_err(|error| error.to_string())?;
    let (uid, own) = (peer.uid(), geteuid().as_raw());
    if uid != own && uid != 0 {
        return Err(format!(
            "user {uid} may not control a process of user {own}"
        ));
    }
    let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
    Ok(pid.filter(|pid| *pid > 0))
}

fn refuse(stream: UnixStream, why: &str) {
    log::sent_away(why);
    if let Ok(stream) = stream.into_std() {
        abort(&Channel::new(stream.into()), why);
    }
}

fn abort(channel: &Channel, why: &str) {
    let reason = why.to_owned();
    let _ = channel.post(&Frame::Abort { reason }, Vec::new());
}
