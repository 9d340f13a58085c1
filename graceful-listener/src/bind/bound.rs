//! The steps that all kinds of sockets have in common, and what they make.

use std::fmt::Display;
use std::io;
use std::os::fd::OwnedFd;

use socket2::{SockAddr, SockRef};

use super::path::BoundPath;
use crate::addr::ListenAddr;
use crate::error::{Kind, ListenError};

/// A freshly bound socket, where it really listens, and the path that now stands for it.
pub(crate) struct Bound {
    pub(crate) fd: OwnedFd,
    pub(crate) addr: ListenAddr,
    pub(crate) path: Option<BoundPath>,
}

/// Turns the error of one step into ours; a taken address is a cause of its own.
pub(super) fn failed(
    step: &'static str,
    addr: &impl Display,
) -> impl FnOnce(io::Error) -> ListenError {
    move |cause| {
        ListenError::new(match cause.kind() {
            io::ErrorKind::AddrInUse => Kind::AddrInUse {
                addr: addr.to_string(),
                why: "another socket holds it; stop its process, or have it hand its listeners \
                      over and take them with `from_env_or_bind`",
            },
            _ => Kind::Bind {
                addr: addr.to_string(),
                step,
                cause,
            },
        })
    }
}

/// bind(2), then listen(2), on a socket that no other process shares yet.
pub(super) fn bind_and_listen(
    socket: &OwnedFd,
    at: &SockAddr,
    addr: &impl Display,
    backlog: u32,
) -> Result<(), ListenError> {
    let socket = SockRef::from(socket);
    socket.bind(at).map_err(failed("bind", addr))?;
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    socket.listen(backlog).map_err(failed("listen on", addr))
}
