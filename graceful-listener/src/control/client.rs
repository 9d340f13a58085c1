//! The client of a control socket, without a runtime: a command line tool, or a process at its
//! start.

use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::HandoffError;
use crate::handoff::introduction::{agree, hello};
use crate::link::channel::Channel;
use crate::protocol::frame::Frame;

/// Between attempts to connect to a server whose queue is full.
const RETRY: Duration = Duration::from_millis(20);
/// As good as for ever, and still a point in time.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Asks the server whose control socket is at `path` for something, and waits for its answer, as
/// long as `timeout`. Blocks the thread.
///
/// What a server understands is up to it; `graceful-server` knows `status`, `drain`,
/// `drain wait`, `resume`, `restart` and `cutoff`. It answers when the outcome is known.
///
/// # Errors
///
/// [`is_failed`](HandoffError::is_failed) with the server's reason,
/// [`is_nobody_there`](HandoffError::is_nobody_there), [`is_timed_out`](HandoffError::is_timed_out)
/// and [`is_protocol`](HandoffError::is_protocol).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use graceful_listener::command;
///
/// let error = command("/nowhere/control", "status", Duration::from_secs(5)).unwrap_err();
/// assert!(error.is_nobody_there());
/// ```
pub fn command(
    path: impl AsRef<Path>,
    command: &str,
    timeout: Duration,
) -> Result<String, HandoffError> {
    let (path, timeout) = (path.as_ref(), timeout.min(LONGEST));
    let deadline = Instant::now() + timeout;
    let silent = |error: HandoffError| match error {
        silent if silent.is_timed_out() => HandoffError::no_answer(timeout),
        error => error,
    };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let channel = knock(path, command, left).map_err(silent)?;
        let channel = channel.ok_or_else(|| HandoffError::nobody_there(path.to_owned()))?;
        if let Some(answer) = answer(&channel, deadline).map_err(silent)? {
            return Ok(answer);
        }
        thread::sleep(RETRY);
    }
}

/// What comes of it; nothing if it was not heard.
fn answer(channel: &Channel, deadline: Instant) -> Result<Option<String>, HandoffError> {
    loop {
        let message = channel.recv_until(deadline)?;
        match message.map(|message| message.frame) {
            Some(Frame::Answer { status: 0, text }) => return Ok(Some(text)),
            Some(Frame::Again) => return Ok(None),
            Some(Frame::Answer { text: reason, .. } | Frame::Abort { reason }) => {
                return Err(HandoffError::failed(reason));
            }
            Some(Frame::Hello(theirs)) => agree(&theirs)?,
            Some(Frame::Unknown { .. }) => {}
            Some(_) => return Err(HandoffError::protocol("its answer is none")),
            None => {
                return Err(HandoffError::failed(
                    "it ended before it answered".to_owned(),
                ));
            }
        }
    }
}

/// Connects and says what is wanted; nothing if nobody is there.
pub(super) fn knock(
    path: &Path,
    request: &str,
    timeout: Duration,
) -> Result<Option<Channel>, HandoffError> {
    match connect(path, Instant::now() + timeout) {
        Ok(socket) => {
            let channel = Channel::new(socket.into());
            let text = request.to_owned();
            // If the server is gone, the next read says so.
            let _ = channel.post(&Frame::Hello(hello(0)), Vec::new());
            let _ = channel.post(&Frame::Command { text }, Vec::new());
            Ok(Some(channel))
        }
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            io::ErrorKind::WouldBlock => Err(HandoffError::no_answer(timeout)),
            _ => Err(HandoffError::io("connect to the control socket", error)),
        },
    }
}

/// A server that is stopped or stuck fills its queue, and then connect(2) says EAGAIN.
fn connect(path: &Path, deadline: Instant) -> io::Result<Socket> {
    trusted(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let at = SockAddr::unix(path)?;
    loop {
        match socket.connect(&at) {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline =>
            {
                thread::sleep(RETRY);
            }
            result => return result.map(|()| socket),
        }
    }
}

/// Listeners of somebody else's would be a bad heritage. The socket's file belongs to whoever
/// bound it; root knows which paths it names.
fn trusted(path: &Path) -> io::Result<()> {
    let (owner, own) = (rustix::fs::stat(path)?.st_uid, geteuid());
    if own.is_root() || owner == own.as_raw() || owner == 0 {
        return Ok(());
    }
    let why = format!("{} belongs to user {owner}", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}
