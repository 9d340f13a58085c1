//! The mechanism behind the handles: one socket, its registration with the runtime, and what is
//! left to do at its end. Guards laws 8 and 10.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::task::coop::consume_budget;

use super::gate::Gate;
#[cfg(any(target_os = "linux", target_os = "android"))]
use super::half_open;
use super::seal;
use crate::addr::ListenAddr;
use crate::bind::BoundPath;
use crate::carried::{Carry, Provenance};
use crate::handoff;
use crate::peer::PeerAddr;
use crate::platform;
use crate::protocol::record::Socket;
use crate::reactor::register;
use crate::stream::Stream;

type Accepted = io::Result<(Stream, PeerAddr)>;

/// A listening socket and all that is known of it.
#[derive(Debug)]
pub(crate) struct Shared {
    name: String,
    addr: ListenAddr,
    /// To be removed in the end.
    path: Option<BoundPath>,
    provenance: Provenance,
    nodelay: bool,
    gate: Gate,
    /// Dropped before the socket: closing a registered descriptor that has a duplicate elsewhere
    /// leaves it registered for ever.
    reactor: OnceLock<AsyncFd<Arc<OwnedFd>>>,
    registering: Mutex<()>,
    socket: Arc<OwnedFd>,
}

impl Shared {
    pub(super) fn new(
        name: String,
        addr: ListenAddr,
        socket: OwnedFd,
        path: Option<BoundPath>,
        provenance: Provenance,
        nodelay: bool,
    ) -> Self {
        Self {
            name,
            addr,
            path,
            provenance,
            nodelay,
            gate: Gate::default(),
            reactor: OnceLock::new(),
            registering: Mutex::new(()),
            socket: Arc::new(socket),
        }
    }

    pub(crate) fn addr(&self) -> &ListenAddr {
        &self.addr
    }

    pub(super) fn is_handed_over(&self) -> bool {
        !self.gate.is_open()
    }

    /// Waits for a connection, without bound. Cancel safe. Any number of tasks may wait.
    ///
    /// The budget is taken so that a queue which never empties does not keep a runtime of one
    /// thread from everything else.
    pub(super) async fn accept(&self) -> io::Result<(Stream, PeerAddr)> {
        handoff::ready().await?;
        loop {
            self.gate.opened().await;
            consume_budget().await;
            let mut guard = self.reactor()?.readable().await?;
            if self.is_handed_over() {
                continue;
            }
            if let Ok(accepted) = guard.try_io(|_| self.accept_now()) {
                return accepted;
            }
        }
    }

    /// The same for one task, without a future to keep: nothing if there is more to wait for than a
    /// connection.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Option<Poll<Accepted>> {
        if !handoff::may_accept() {
            return None;
        }
        let reactor = self.reactor().ok()?;
        loop {
            if self.is_handed_over() {
                return None;
            }
            // This takes from the budget, too.
            let mut guard = match reactor.poll_read_ready(cx) {
                Poll::Ready(ready) => ready.ok()?,
                Poll::Pending => return Some(Poll::Pending),
            };
            if let Ok(accepted) = guard.try_io(|_| self.accept_now()) {
                return Some(Poll::Ready(accepted));
            }
        }
    }

    /// One accept, without looking at what the runtime believes.
    pub(super) fn accept_queued(&self) -> io::Result<Option<(Stream, PeerAddr)>> {
        if self.is_handed_over() || !handoff::may_accept() {
            return Ok(None);
        }
        Handle::try_current().map_err(io::Error::other)?;
        match self.accept_now() {
            Ok(accepted) => Ok(Some(accepted)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Guards law 8: whoever else might accept would be refused his clients.
    pub(super) fn seal(&self) -> bool {
        self.is_sole() && handoff::while_alone(|| self.seal_now())
    }

    fn seal_now(&self) -> bool {
        if self.is_handed_over() {
            return false;
        }
        if let Some(path) = &self.path {
            path.unlink();
        }
        // Where it cannot be done the queue is emptied all the same.
        let sealed = match self.addr {
            ListenAddr::Tcp(_) => seal::turn_away(self.as_fd()),
            ListenAddr::Unix(_) => seal::refuse(self.as_fd()),
        };
        sealed.is_ok()
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn half_open(&self) -> usize {
        let shared = rustix::net::sockopt::socket_reuseport(self.socket());
        match self.is_sole() && !shared.unwrap_or(false) {
            true => half_open::count(&self.addr).unwrap_or(0),
            false => 0,
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn half_open(&self) -> usize {
        0
    }

    fn accept_now(&self) -> io::Result<(Stream, PeerAddr)> {
        let (fd, peer) = loop {
            match platform::accept(self.socket.as_fd()) {
                Err(Errno::INTR) => {}
                result => break result?,
            }
        };
        let peer = PeerAddr::from_accept(peer);
        let stream = match self.addr {
            ListenAddr::Tcp(_) => {
                if self.nodelay {
                    // It fails only where the peer is gone already; the first read tells.
                    let _ = set_tcp_nodelay(&fd, true);
                }
                Stream::Tcp(TcpStream::from_std(fd.into())?)
            }
            ListenAddr::Unix(_) => Stream::Unix(UnixStream::from_std(fd.into())?),
        };
        Ok((stream, peer))
    }

    /// The registration with the runtime, made at the first wait so that listeners can be had
    /// before there is one.
    fn reactor(&self) -> io::Result<&AsyncFd<Arc<OwnedFd>>> {
        if let Some(reactor) = self.reactor.get() {
            return Ok(reactor);
        }
        let _alone = self
            .registering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(reactor) = self.reactor.get() {
            return Ok(reactor);
        }
        let reactor = register(self.socket(), Interest::READABLE)?;
        Ok(self.reactor.get_or_init(|| reactor))
    }
}

impl Carry for Shared {
    fn name(&self) -> &str {
        &self.name
    }

    fn socket(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.socket)
    }

    fn description(&self) -> Socket {
        match &self.addr {
            ListenAddr::Tcp(addr) => Socket::Tcp(*addr),
            ListenAddr::Unix(path) => {
                let ours = self.path.as_ref().map(BoundPath::identity);
                Socket::Unix {
                    path: path.clone(),
                    ours,
                }
            }
        }
    }

    fn is_sole(&self) -> bool {
        match &self.provenance {
            Provenance::Own => true,
            Provenance::Passed => false,
            Provenance::Delivered(name) => handoff::is_sole(name),
        }
    }

    fn hand_over(&self) {
        self.gate.close();
    }

    fn reclaim(&self) {
        self.gate.open();
    }
}

impl AsFd for Shared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The path goes with the last process that listens on it: not while a successor does, and not
/// while a predecessor still may.
impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let ours = self.provenance == Provenance::Own;
            if self.gate.is_open() && (ours || handoff::owns_paths()) {
                path.unlink();
            }
        }
    }
}
