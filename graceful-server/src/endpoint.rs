//! A listener and what is served on it, whatever its type.

use std::{fmt, future::poll_fn, net::SocketAddr, sync::Arc};

use graceful_layer::{Connection, Peer, Tracker};
use graceful_listener::{HandoffListener, Moved, PeerAddr, Stream};
use tower_service::Service;

#[cfg(feature = "tls")]
use crate::tls::{TlsConfig, TlsStream};
use crate::{
    connection::{BoxError, HttpBody, HttpService, Served},
    http::Http,
    leave::Leave,
    log,
    pool::TaskPool,
    transport::Transport,
};

/// How many tasks of a listener wait for a connection: some 60 kB.
const WAITING: usize = 128;

/// Serves one accepted connection in a task of its own.
type Start = dyn Fn(Accepted, &Arc<Http>) + Send + Sync;

/// A connection right after `accept`, or moved here: in the tracker already (law 2).
pub(crate) struct Accepted {
    stream: Transport,
    peer: PeerAddr,
    conn: Connection,
    /// Read by a predecessor, and not understood yet.
    unread: Vec<u8>,
    /// The position of its listener.
    listener: u32,
}

impl Accepted {
    pub(crate) fn new(stream: Stream, peer: PeerAddr, tracker: &Tracker) -> Self {
        Self {
            conn: tracker.open(known(&peer)),
            stream: Transport::Plain(stream),
            peer,
            unread: Vec::new(),
            listener: 0,
        }
    }

    /// One that was idle in the predecessor; nothing if it could not be taken. In the tracker before it is.
    pub(crate) fn moved(moved: Moved, tracker: &Tracker) -> Option<Self> {
        let peer = moved.peer().clone();
        let conn = tracker.adopt(known(&peer), moved.requests());
        let (stream, unread) = moved.accept()?;
        Some(Self {
            stream: Transport::Plain(stream),
            peer,
            conn,
            unread,
            listener: 0,
        })
    }

    /// The same connection, which begins with a handshake: counted as such before anything of it is done.
    #[cfg(feature = "tls")]
    fn secured(self, tls: &TlsConfig) -> Self {
        self.conn.set_handshaking(true);
        let stream = match self.stream {
            Transport::Plain(stream) => TlsStream::new(stream, tls.rustls()).into(),
            secured => secured,
        };
        Self { stream, ..self }
    }

    /// Makes the service of this connection. A handshake begins after it, and has all of its time.
    async fn make<M, S>(&self, mut make: M) -> Result<S, BoxError>
    where
        M: Service<SocketAddr, Response = S, Error: Into<BoxError>, Future: Send> + Send + 'static,
        S: Send + 'static,
    {
        let peer = self.peer.as_tcp().unwrap_or(UNNAMED);
        self.conn.set_handshaking(false);
        let making = async move {
            poll_fn(|cx| make.poll_ready(cx).map_err(Into::into)).await?;
            make.call(peer).await.map_err(Into::into)
        };
        let made = self.conn.make(&self.stream, making).await;
        self.conn.set_handshaking(self.stream.is_handshaking());
        made?
    }

    fn serve<S: HttpService<B>, B: HttpBody>(self, service: S, http: &Arc<Http>) -> Served<S, B> {
        let conn = self.conn;
        let mut io = conn.io(self.stream);
        io.put_back(&self.unread);
        let plain = io.stream().as_plain().is_some();
        let leave = match &http.exit {
            Some(exit) if plain => Some(Leave::new(exit.clone(), self.listener)),
            _ => None,
        };
        Served::new(conn, io, service, http, leave)
    }
}

fn known(peer: &PeerAddr) -> Peer {
    match peer {
        PeerAddr::Tcp(addr) => Peer::Tcp(*addr),
        _ => Peer::Unix,
    }
}

pub(crate) struct Endpoint {
    pub(crate) listener: Arc<HandoffListener>,
    /// Its place among the listeners of the server.
    index: u16,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsConfig>,
    start: Box<Start>,
}

impl Endpoint {
    /// One service for all connections, cloned for each.
    pub(crate) fn new<S, B>(listener: HandoffListener, service: S) -> Self
    where
        S: HttpService<B> + Sync,
        B: HttpBody,
    {
        let pool = TaskPool::new(WAITING);
        let start = move |accepted: Accepted, http: &Arc<Http>| {
            pool.run(accepted.serve(service.clone(), http));
        };
        Self::starting(listener, Box::new(start))
    }

    /// A service for each connection, made in that connection's task: a slow maker holds up nobody else.
    pub(crate) fn make<M, S, B>(listener: HandoffListener, make: M) -> Self
    where
        M: Service<SocketAddr, Response = S, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        S: HttpService<B>,
        B: HttpBody,
    {
        let pool = TaskPool::new(WAITING);
        let start = move |accepted: Accepted, http: &Arc<Http>| {
            let (make, http) = (make.clone(), http.clone());
            pool.run(Box::pin(async move {
                match accepted.make(make).await {
                    Ok(service) => accepted.serve(service, &http).await,
                    Err(error) => log::not_made(accepted.conn.peer(), error),
                }
            }));
        };
        Self::starting(listener, Box::new(start))
    }

    fn starting(listener: HandoffListener, start: Box<Start>) -> Self {
        Self {
            listener: Arc::new(listener),
            index: 0,
            #[cfg(feature = "tls")]
            tls: None,
            start,
        }
    }

    pub(crate) fn numbered(self, index: usize) -> Self {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        Self { index, ..self }
    }

    /// Whether connections begin with a handshake, which one that has moved here has not.
    pub(crate) fn is_secured(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    pub(crate) fn start(&self, mut accepted: Accepted, http: &Arc<Http>) {
        accepted.conn.set_listener(self.index);
        accepted.listener = self.index.into();
        #[cfg(feature = "tls")]
        let accepted = match &self.tls {
            Some(tls) => accepted.secured(tls),
            None => accepted,
        };
        (self.start)(accepted, http);
    }
}

/// What stands for the address of a peer on a Unix socket, which has none.
const UNNAMED: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), 0);

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}
