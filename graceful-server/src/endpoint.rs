//! A listener and what is served on it, whatever its type.

use std::{fmt, future::poll_fn, net::SocketAddr, sync::Arc};

use graceful_layer::{Connection, Peer, Tracker};
use graceful_listener::{HandoffListener, PeerAddr, Stream};
use tower_service::Service;

#[cfg(feature = "tls")]
use crate::tls::{TlsConfig, TlsStream};
use crate::{
    connection::{BoxError, HttpBody, HttpConnection, HttpService},
    http::Http,
    log,
    transport::Transport,
};

/// Serves one accepted connection in a task of its own.
type Start = dyn Fn(Accepted, &Arc<Http>) + Send + Sync;

/// A connection right after `accept`: in the tracker already (law 2).
pub(crate) struct Accepted {
    stream: Transport,
    peer: PeerAddr,
    conn: Connection,
}

impl Accepted {
    pub(crate) fn new(stream: Stream, peer: PeerAddr, tracker: &Tracker) -> Self {
        let known = match &peer {
            PeerAddr::Tcp(addr) => Peer::Tcp(*addr),
            _ => Peer::Unix,
        };
        Self {
            stream: Transport::Plain(stream),
            peer,
            conn: tracker.open(known),
        }
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

    async fn serve<S: HttpService<B>, B: HttpBody>(self, service: S, http: Arc<Http>) {
        let Self { stream, conn, .. } = self;
        let id = conn.id();
        let (io, service) = (conn.io(stream), conn.service(service));
        let ended = conn.watch(HttpConnection::new(io, service, http)).await;
        log::ended(id, ended);
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
        let start = move |accepted: Accepted, http: &Arc<Http>| {
            tokio::spawn(accepted.serve(service.clone(), http.clone()));
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
        let start = move |accepted: Accepted, http: &Arc<Http>| {
            let (mut make, http) = (make.clone(), http.clone());
            tokio::spawn(async move {
                let peer = accepted.peer.as_tcp().unwrap_or(UNNAMED);
                let ready = poll_fn(|cx| make.poll_ready(cx).map_err(Into::into)).await;
                let made = match ready {
                    Ok(()) => make.call(peer).await.map_err(Into::into),
                    Err(error) => Err(error),
                };
                match made {
                    Ok(service) => accepted.serve(service, http).await,
                    Err(error) => log::not_made(error),
                }
            });
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

    pub(crate) fn start(&self, accepted: Accepted, http: &Arc<Http>) {
        accepted.conn.set_listener(self.index);
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
