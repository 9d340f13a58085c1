//! The public handle of a listener. The mechanism is in `shared`.

mod gate;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod half_open;
mod seal;
mod shared;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use crate::addr::ListenAddr;
use crate::bind::BoundPath;
use crate::carried::{Carried, Carry, Provenance};
use crate::handoff::Origin;
use crate::peer::PeerAddr;
use crate::stream::Stream;

pub(crate) use self::gate::Gate;
pub(crate) use self::shared::Shared;

/// A TCP or Unix listener that can outlive its process.
///
/// It is inherited, from a predecessor or a service manager, or bound; and it can be lent to the
/// next process with [`Successor`](crate::Successor). It registers with tokio at its first poll,
/// so it can be made before there is a runtime; from then on it belongs to that runtime.
///
/// Clones are handles of the same socket, which is closed when the last one is dropped. Do not
/// forget one in a task: while it lives, clients that connect are queued and not refused, and
/// nobody answers them. When a Unix listener is closed and no successor has it, its path is
/// removed, if it is still the file that was bound.
///
/// It is never shut down and never made to listen a second time: other processes may share it.
///
/// # Examples
///
/// ```no_run
/// use graceful_listener::HandoffListener;
///
/// # async fn serve() -> std::io::Result<()> {
/// let listener = HandoffListener::from_env_or_bind("127.0.0.1:8080")?;
/// loop {
///     let (stream, peer) = listener.accept().await?;
///     println!("{peer} is connected");
///     # drop(stream);
/// }
/// # }
/// ```
///
/// # References
///
/// [`listen(2)`](https://man7.org/linux/man-pages/man2/listen.2.html),
/// [`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html)
pub struct HandoffListener {
    shared: Arc<Shared>,
    /// The accept that `poll_accept` is in the middle of.
    accepting: Mutex<Option<Accepting>>,
}

type Accepting = Pin<Box<dyn Future<Output = io::Result<(Stream, PeerAddr)>> + Send>>;

impl HandoffListener {
    /// Returns the name under which the next process finds it: that of
    /// [`options`](Self::options), else that of whoever passed it, else the text of the address
    /// as it was asked for.
    pub fn name(&self) -> &str {
        self.shared.name()
    }

    /// Returns where it really listens: with its port if it was bound to port 0, and with an
    /// absolute path.
    pub fn local_addr(&self) -> &ListenAddr {
        self.shared.addr()
    }

    /// Returns whether a successor has it. `accept` waits then, until the successor is
    /// [gone](crate::Handover::gone).
    pub fn is_handed_over(&self) -> bool {
        self.shared.is_handed_over()
    }

    /// Accepts a connection; waits for one without bound.
    ///
    /// The first call in a process tells the predecessor, if there is one, that this process is
    /// [ready](crate::ready), and waits until it may serve. So claim every inherited listener
    /// before. After a hand-over to a successor it waits until the successor is gone. Several
    /// tasks may call it at once. TCP_NODELAY is set on TCP connections unless the options say
    /// otherwise.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection.
    ///
    /// # Errors
    ///
    /// Those of accept(2) as they are. Some are about one connection (`ECONNABORTED`), some about
    /// the process (`EMFILE`) and come again at once, so a loop has to pause: the `axum` feature
    /// and [`incoming`](Self::incoming) do. Those of [`ready`](crate::ready) mean that this
    /// process is not to serve.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub async fn accept(&self) -> io::Result<(Stream, PeerAddr)> {
        self.shared.accept().await
    }

    /// Polls for a connection, as [`accept`](Self::accept) does.
    ///
    /// Only the task that polled this handle last is woken; poll a clone from another one.
    ///
    /// # Errors
    ///
    /// Those of [`accept`](Self::accept).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, PeerAddr)>> {
        let mut slot = self
            .accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let accepting = slot.get_or_insert_with(|| {
            let shared = Arc::clone(&self.shared);
            Box::pin(async move { shared.accept().await })
        });
        let accepted = ready!(accepting.as_mut().poll(cx));
        *slot = None;
        Poll::Ready(accepted)
    }

    /// [`poll_accept`](Self::poll_accept) at less than half of the price, for a listener on which one task waits this
    /// way: as with tokio's listeners, of several only the one that asked last is woken.
    ///
    /// # Errors
    ///
    /// As for [`accept`](Self::accept).
    pub fn poll_accept_alone(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, PeerAddr)>> {
        match self.shared.poll_accept(cx) {
            Some(polled) => polled,
            None => self.poll_accept(cx),
        }
    }

    /// Takes a connection that is in the queue already; nothing if the queue is empty.
    ///
    /// It asks the kernel, past what the runtime believes, and does not wait. Call it until it
    /// returns nothing before a listener is closed: whatever is left in the queue at that moment
    /// is reset. It takes nothing before this process may serve, nor after a hand-over.
    ///
    /// # Errors
    ///
    /// Those of accept(2), and an error outside of a tokio runtime.
    pub fn accept_queued(&self) -> io::Result<Option<(Stream, PeerAddr)>> {
        self.shared.accept_queued()
    }

    /// Lets no connection begin any more: the last step before the queue is emptied with
    /// [`accept_queued`](Self::accept_queued) and the listener is dropped.
    ///
    /// Without it a connection that is made between the last accept and the close is reset. A
    /// client that comes after it is refused, once the listener is closed: at its second try, which TCP
    /// makes after a second, if its first came before that. It cannot be undone. Returns whether
    /// it was done; if not, empty the queue and drop the listener all the same.
    ///
    /// What is not covered: a handshake that is [half done](Self::half_open) when the listener is
    /// closed is reset. A listener that others may hold as well, and one that is handed over, are left as they are.
    /// Others may hold it if it came from a service manager, while the process that handed it over
    /// lives, and once a successor or worker of this process has died that may have passed it on.
    /// In a worker a listener is sealed only when its supervisor, which stops, has said that it
    /// [leaves](crate::Worker::leave_to) it to this process. Systems other than Linux only remove a
    /// Unix socket's path.
    pub fn seal(&self) -> bool {
        self.shared.seal()
    }

    /// Returns how many handshakes are half done: the client has been answered, and what would put
    /// its connection in the queue is not here yet. Once the listener is sealed there are only
    /// fewer of them; look before the queue is emptied, for that is where they go.
    ///
    /// It walks the kernel's table of connections, which takes some milliseconds. Zero for a
    /// Unix socket, for one that [others may hold](Self::seal) or that shares its port
    /// (`SO_REUSEPORT`), because whose they are is not told, for those that were answered with SYN
    /// cookies, where the system does not tell at all, and on systems other than Linux.
    pub fn half_open(&self) -> usize {
        self.shared.half_open()
    }

    /// Leaves the path of a Unix listener where it is when the last handle is dropped: another
    /// process has it now, and this one knows of it in another way than by a hand-over of its own.
    /// As after a hand-over, nothing is accepted any more.
    pub fn disown(&self) {
        self.shared.hand_over();
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn new(
        name: String,
        addr: ListenAddr,
        socket: OwnedFd,
        path: Option<BoundPath>,
        provenance: Provenance,
        nodelay: bool,
    ) -> Self {
        Origin::recorded();
        Shared::new(name, addr, socket, path, provenance, nodelay).into()
    }
}

impl From<Shared> for HandoffListener {
    fn from(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
            accepting: Mutex::new(None),
        }
    }
}

impl From<&HandoffListener> for Carried {
    fn from(listener: &HandoffListener) -> Self {
        Self(Arc::clone(&listener.shared) as _)
    }
}

/// A handle of the same socket. It starts without a pending accept.
impl Clone for HandoffListener {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            accepting: Mutex::new(None),
        }
    }
}

impl fmt::Debug for HandoffListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandoffListener")
            .field("name", &self.name())
            .field("local_addr", self.local_addr())
            .field("is_handed_over", &self.is_handed_over())
            .finish_non_exhaustive()
    }
}

impl AsFd for HandoffListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.as_fd()
    }
}
