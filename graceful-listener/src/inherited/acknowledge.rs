//! Tells a manager that waits for it that this process is ready. Of those that pass descriptors
//! only einhorn does: unless told, it does not end the workers of the release before.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::{SocketType, send, sockopt};
use socket2::{Domain, SockAddr, Socket, Type};

use super::numbers;
use crate::env::{ControlSocket, Me, of_this_process};
use crate::fault::Fault;
use crate::log;
use crate::platform::SEND;

/// Does nothing if nobody waits. What goes wrong is logged: this process serves all the same, and
/// the manager keeps the one before, too.
pub(super) fn acknowledge() {
    let me = Me::this();
    let acknowledged = match of_this_process().einhorn_control(&me) {
        Ok(None) => return,
        Ok(Some(control)) => tell(control, me.pid),
        Err(error) => Err(error.into()),
    };
    log::acknowledged(acknowledged);
}

/// Sends the one line that einhorn expects; it answers nothing. Never blocks: einhorn's queue has
/// room, or it is not well.
fn tell(control: ControlSocket, pid: u32) -> io::Result<()> {
    let socket: OwnedFd = match control {
        ControlSocket::Fd(number) => {
            let taken = numbers::take(number, is_stream);
            taken
                .map_err(|fault| io::Error::other(fault.to_string()))?
                .0
        }
        ControlSocket::Path(path) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.connect(&SockAddr::unix(path)?)?;
            socket.into()
        }
    };
    fcntl_setfl(&socket, fcntl_getfl(&socket)? | OFlags::NONBLOCK)?;
    let line = format!("{{\"command\":\"worker:ack\",\"pid\":{pid}}}\n");
    let sent = send(&socket, line.as_bytes(), SEND)?;
    match sent == line.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

fn is_stream(fd: BorrowedFd<'_>) -> Result<(), Fault> {
    match sockopt::socket_type(fd)? {
        SocketType::STREAM => Ok(()),
        _ => Err(Fault::WrongType("it is no stream".to_owned())),
    }
}
