//! The public handle of a UDP socket. The mechanism is in `shared`.

mod addr;
mod options;
mod shared;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::carried::{Carried, Carry};
use crate::error::ListenError;
use crate::options::ListenOptions;

pub use self::addr::UdpAddr;

pub(crate) use self::shared::Shared;

/// A UDP socket that can outlive its process.
///
/// It is inherited, from a predecessor or a service manager, or bound; and it is handed on with
/// [`SuccessorBuilder::carry`](crate::SuccessorBuilder::carry). Both processes then hold the same
/// socket, and the datagrams in its queue are for whoever receives next: the old process until
/// COMMIT, the new one after it. So none is lost, as they are when a socket is closed and bound
/// again. It registers with tokio at its first use. Clones are handles of the same socket.
///
/// What is not covered: which process a datagram of a *conversation* belongs to. After COMMIT all
/// of them go to the new process, so what the old one knew of a peer (a QUIC connection, a DTLS
/// session) has to be carried over, or forwarded, by the protocol's own means. A library that
/// wants a socket of its own gets a duplicate by [`AsFd`]; it then has to wait for
/// [`ready`](crate::ready) and to stop receiving at the hand-over by itself.
///
/// # Examples
///
/// ```no_run
/// use graceful_listener::HandoffUdp;
///
/// # async fn serve() -> std::io::Result<()> {
/// let syslog = HandoffUdp::from_env_or_bind("udp:0.0.0.0:514")?;
/// let mut buffer = [0; 65536];
/// loop {
///     let (length, peer) = syslog.recv_from(&mut buffer).await?;
///     println!("{length} bytes from {peer}");
/// }
/// # }
/// ```
///
/// # References
///
/// [`udp(7)`](https://man7.org/linux/man-pages/man7/udp.7.html)
#[derive(Clone)]
pub struct HandoffUdp(Arc<Shared>);

impl HandoffUdp {
    /// Takes the one UDP socket that was inherited.
    ///
    /// # Errors
    ///
    /// [`is_none_inherited`](ListenError::is_none_inherited) if there is none,
    /// [`is_ambiguous`](ListenError::is_ambiguous) if there are several, and what is wrong with
    /// the environment or the descriptor.
    pub fn from_env() -> Result<Self, ListenError> {
        ListenOptions::default().udp_from_env()
    }

    /// Takes the UDP socket that was inherited for `addr`, or binds one if none was.
    ///
    /// It is found as a listener is, by name and then by address; its name, unless
    /// [`options`](crate::HandoffListener::options) set another, is `udp:` and the address.
    ///
    /// # Errors
    ///
    /// Those of [`HandoffListener::from_env_or_bind`](crate::HandoffListener::from_env_or_bind).
    pub fn from_env_or_bind<A>(addr: A) -> Result<Self, ListenError>
    where
        A: TryInto<UdpAddr, Error: Into<ListenError>>,
    {
        ListenOptions::default().udp_from_env_or_bind(addr)
    }

    /// Binds a UDP socket, whatever may be inherited.
    ///
    /// # Errors
    ///
    /// [`is_addr_in_use`](ListenError::is_addr_in_use),
    /// [`is_bind_failed`](ListenError::is_bind_failed) and
    /// [`is_malformed_addr`](ListenError::is_malformed_addr).
    pub fn bind<A>(addr: A) -> Result<Self, ListenError>
    where
        A: TryInto<UdpAddr, Error: Into<ListenError>>,
    {
        ListenOptions::default().bind_udp(addr)
    }

    /// Takes a descriptor as a UDP socket, after checking that it is one. It is closed if not.
    /// So one with options that are not known here, like multicast groups, can be handed over.
    ///
    /// # Errors
    ///
    /// [`is_not_a_socket`](ListenError::is_not_a_socket) or
    /// [`is_wrong_type`](ListenError::is_wrong_type).
    pub fn from_fd(fd: OwnedFd) -> Result<Self, ListenError> {
        ListenOptions::default().udp_from_fd(fd)
    }

    /// Returns the name under which the next process finds it.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Returns where it really is bound: with its port if that was 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.addr()
    }

    /// Returns whether a successor has it. `recv_from` waits then, until the successor is
    /// [gone](crate::Handover::gone).
    pub fn is_handed_over(&self) -> bool {
        self.0.is_handed_over()
    }

    /// Receives a datagram; waits for one without bound. What does not fit into `buffer` is lost.
    ///
    /// The first call in a process tells the predecessor, if there is one, that this process is
    /// [ready](crate::ready), and waits until it may serve. After a hand-over to a successor it
    /// waits until the successor is gone. Several tasks may call it at once.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no datagram.
    ///
    /// # Errors
    ///
    /// Those of recvfrom(2). Those of [`ready`](crate::ready) mean that this process is not to
    /// serve.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.recv_from(buffer).await
    }

    /// Sends a datagram; waits for room without bound. Also after a hand-over, to answer what was
    /// received before it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future sends nothing.
    ///
    /// # Errors
    ///
    /// Those of sendto(2).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub async fn send_to(&self, datagram: &[u8], peer: SocketAddr) -> io::Result<usize> {
        self.0.send_to(datagram, peer).await
    }
}

impl From<&HandoffUdp> for Carried {
    fn from(udp: &HandoffUdp) -> Self {
        Self(Arc::clone(&udp.0) as _)
    }
}

impl AsFd for HandoffUdp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl fmt::Debug for HandoffUdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandoffUdp")
            .field("name", &self.name())
            .field("local_addr", &self.local_addr())
            .field("is_handed_over", &self.is_handed_over())
            .finish_non_exhaustive()
    }
}
