//! What can be said about a listener before it is taken or bound.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use crate::addr::ListenAddr;
use crate::bind::{self, Bound, SocketOptions};
use crate::carried::Provenance;
use crate::check::check;
use crate::env::LONGEST_NAME;
use crate::error::{Kind, ListenError};
use crate::inherited::{self, Offer, What, numbers};
use crate::listener::HandoffListener;

/// Options of a listener, from [`HandoffListener::options`].
///
/// The name and TCP_NODELAY hold for every listener; the backlog and the other socket options for
/// one that is bound here, because an inherited socket is shared with whoever passed it.
///
/// # Examples
///
/// ```
/// use graceful_listener::HandoffListener;
///
/// let listener = HandoffListener::options().name("http").backlog(128).bind("127.0.0.1:0")?;
/// assert_eq!(listener.name(), "http");
/// assert_ne!(listener.local_addr().as_tcp().unwrap().port(), 0);
/// # Ok::<_, graceful_listener::ListenError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ListenOptions {
    pub(crate) name: Option<String>,
    nodelay: bool,
    /// For a socket that is bound here.
    pub(crate) socket: SocketOptions,
}

impl HandoffListener {
    /// Takes the one listener that was inherited.
    ///
    /// The crate documentation has a table of the variables that are understood.
    ///
    /// # Errors
    ///
    /// [`is_none_inherited`](ListenError::is_none_inherited) if there is none,
    /// [`is_ambiguous`](ListenError::is_ambiguous) if there are several, and the faults of
    /// the environment and of the descriptor.
    pub fn from_env() -> Result<Self, ListenError> {
        Self::options().from_env()
    }

    /// Takes the listener that was inherited for `addr`, or binds one if none was.
    ///
    /// A listener is found by its name first: over a hand-over of this crate it is the text of
    /// the address, unless [`options`](Self::options) set another. Otherwise it is found by its
    /// address; port 0 fits any port.
    ///
    /// # Errors
    ///
    /// [`is_address_mismatch`](ListenError::is_address_mismatch) if the listener that was handed over
    /// has another address than `addr`: binding a second socket in silence would leave the clients
    /// of the first socket waiting. Otherwise the faults of the environment, a descriptor, the
    /// address, or the attempt to bind.
    pub fn from_env_or_bind<A>(addr: A) -> Result<Self, ListenError>
    where
        A: TryInto<ListenAddr, Error: Into<ListenError>>,
    {
        Self::options().from_env_or_bind(addr)
    }

    /// Binds a listener, even if one was inherited.
    ///
    /// The path of a Unix socket may exist if no process listens on it: it is then replaced in one
    /// step.
    ///
    /// # Errors
    ///
    /// [`is_addr_in_use`](ListenError::is_addr_in_use) if the address is taken, by a living
    /// server or by a file of another kind; [`is_bind_failed`](ListenError::is_bind_failed) if the
    /// system refuses for another reason.
    pub fn bind<A>(addr: A) -> Result<Self, ListenError>
    where
        A: TryInto<ListenAddr, Error: Into<ListenError>>,
    {
        Self::options().bind(addr)
    }

    /// Takes a descriptor as a listener, after checking that it is one. It is closed if not.
    ///
    /// # Errors
    ///
    /// [`is_not_a_socket`](ListenError::is_not_a_socket),
    /// [`is_wrong_type`](ListenError::is_wrong_type) or
    /// [`is_not_listening`](ListenError::is_not_listening).
    pub fn from_fd(fd: OwnedFd) -> Result<Self, ListenError> {
        Self::options().from_fd(fd)
    }

    /// Takes the descriptor that came through exec under a number, such as one given on the
    /// command line. Each number can be taken once in a process.
    ///
    /// # Errors
    ///
    /// [`is_bad_fd`](ListenError::is_bad_fd) if it is not open or was not inherited (it is
    /// close-on-exec), [`is_taken`](ListenError::is_taken), and the errors of
    /// [`from_fd`](Self::from_fd). The descriptor is then left as it is.
    pub fn from_inherited_fd(number: RawFd) -> Result<Self, ListenError> {
        Self::options().from_inherited_fd(number)
    }

    /// Returns options to set before taking or binding a listener.
    pub fn options() -> ListenOptions {
        ListenOptions::default()
    }
}

impl ListenOptions {
    /// Names the listener, 1 to 255 bytes. A manager passes it by this name (`FileDescriptorName=`
    /// of a systemd unit), and the next generation finds it by this name though its address in
    /// the configuration is written differently by then.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many connections may wait to be accepted; 4096 if not set. The kernel caps it
    /// (`net.core.somaxconn`). While nobody accepts, during a hand-over, clients wait here.
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.socket.backlog = backlog;
        self
    }

    /// Sets SO_REUSEPORT: several sockets share the address, and the kernel spreads the clients.
    /// Off if not set. A restart does not need it. What waits in the queue of a socket is reset
    /// when that socket closes, whatever siblings it has, so hand over all of the group;
    /// `docs/reuseport.md` in the repository has the measurements.
    pub fn reuse_port(mut self, reuse_port: bool) -> Self {
        self.socket.reuse_port = reuse_port;
        self
    }

    /// Sets IPV6_V6ONLY for a version 6 address: whether `[::]` leaves version 4 to others. As
    /// the system has it if not set.
    pub fn only_v6(mut self, only_v6: bool) -> Self {
        self.socket.only_v6 = Some(only_v6);
        self
    }

    /// Whether accepted TCP connections get TCP_NODELAY; yes if not set.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Sets who may connect to a Unix path: the permission bits of its file, 0o600 for this user
    /// alone. As the umask has it if not set. They are there from the first moment on Linux; on
    /// other systems the file has those of the umask for an instant.
    pub fn mode(mut self, mode: u32) -> Self {
        self.socket.mode = Some(mode);
        self
    }

    /// Binds, as [`HandoffListener::bind`].
    ///
    /// # Errors
    ///
    /// Those of [`HandoffListener::bind`], and [`is_bad_name`](ListenError::is_bad_name).
    pub fn bind<A>(&self, addr: A) -> Result<HandoffListener, ListenError>
    where
        A: TryInto<ListenAddr, Error: Into<ListenError>>,
    {
        self.check_name()?;
        self.bind_parsed(&addr.try_into().map_err(Into::into)?)
    }

    /// Takes the one inherited listener, or the one of the name that is set.
    ///
    /// # Errors
    ///
    /// Those of [`HandoffListener::from_env`].
    pub fn from_env(&self) -> Result<HandoffListener, ListenError> {
        let (name, offer) = inherited::one(What::Listener, self.name.as_deref())?;
        Ok(self.accept_offer(name, offer))
    }

    /// Takes all inherited listeners that nobody has taken, or all of the name that is set, in
    /// the order in which they were passed.
    ///
    /// # Errors
    ///
    /// As [`HandoffListener::from_env`]; if one of them is unusable, none is taken.
    pub fn all_from_env(&self) -> Result<Vec<HandoffListener>, ListenError> {
        let all = inherited::all(What::Listener, self.name.as_deref())?;
        Ok(all
            .into_iter()
            .map(|(name, offer)| self.accept_offer(name, offer))
            .collect())
    }

    /// Takes the inherited listener for `addr` or binds one, as
    /// [`HandoffListener::from_env_or_bind`].
    ///
    /// Of several inherited listeners of the same name and address, each call takes the next.
    ///
    /// # Errors
    ///
    /// Those of [`HandoffListener::from_env_or_bind`], and
    /// [`is_bad_name`](ListenError::is_bad_name).
    pub fn from_env_or_bind<A>(&self, addr: A) -> Result<HandoffListener, ListenError>
    where
        A: TryInto<ListenAddr, Error: Into<ListenError>>,
    {
        self.check_name()?;
        let addr = addr.try_into().map_err(Into::into)?;
        match inherited::fitting(What::Listener, self.name.as_deref(), &addr)? {
            // Known from now on by what this configuration calls it.
            Some((_, offer)) => Ok(self.accept_offer(addr.to_string(), offer)),
            None => self.bind_parsed(&addr),
        }
    }

    /// Takes a descriptor, as [`HandoffListener::from_fd`].
    ///
    /// # Errors
    ///
    /// Those of [`HandoffListener::from_fd`], and [`is_bad_name`](ListenError::is_bad_name).
    pub fn from_fd(&self, fd: OwnedFd) -> Result<HandoffListener, ListenError> {
        self.check_name()?;
        let addr = check(fd.as_fd()).map_err(|fault| {
            ListenError::new(Kind::Unusable {
                fd: fd.as_raw_fd(),
                fault,
            })
        })?;
        Ok(self.finish(addr.to_string(), addr, fd))
    }

    /// Takes a descriptor by its number, as [`HandoffListener::from_inherited_fd`].
    ///
    /// # Errors
    ///
    /// Those of [`HandoffListener::from_inherited_fd`], and
    /// [`is_bad_name`](ListenError::is_bad_name).
    pub fn from_inherited_fd(&self, number: RawFd) -> Result<HandoffListener, ListenError> {
        self.check_name()?;
        let (fd, addr) = numbers::take(number, check)
            .map_err(|fault| ListenError::new(Kind::Unusable { fd: number, fault }))?;
        Ok(self.finish(addr.to_string(), addr, fd))
    }

    fn bind_parsed(&self, wanted: &ListenAddr) -> Result<HandoffListener, ListenError> {
        let Bound { fd, addr, path } = bind::bind(wanted, &self.socket)?;
        let name = self.name.clone().unwrap_or_else(|| wanted.to_string());
        Ok(HandoffListener::new(
            name,
            addr,
            fd,
            path,
            Provenance::Own,
            self.nodelay,
        ))
    }

    fn accept_offer(&self, name: String, offer: Offer) -> HandoffListener {
        let name = self.name.clone().unwrap_or(name);
        HandoffListener::new(
            name,
            offer.addr,
            offer.fd,
            offer.path,
            offer.provenance,
            self.nodelay,
        )
    }

    fn finish(&self, name: String, addr: ListenAddr, fd: OwnedFd) -> HandoffListener {
        self.accept_offer(
            name,
            Offer {
                fd,
                addr,
                path: None,
                provenance: Provenance::Passed,
            },
        )
    }

    /// The name has to fit into a frame, and to be told from none.
    pub(crate) fn check_name(&self) -> Result<(), ListenError> {
        self.name.as_deref().map_or(Ok(()), check_name)
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), ListenError> {
    match (1..=LONGEST_NAME).contains(&name.len()) {
        true => Ok(()),
        false => Err(ListenError::new(Kind::BadName { name: name.into() })),
    }
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            name: None,
            nodelay: true,
            socket: SocketOptions::default(),
        }
    }
}
