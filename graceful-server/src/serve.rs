//! `serve`: what is served where, when it stops, how it restarts.

use std::{
    fmt,
    future::{Future, IntoFuture},
    io,
    net::SocketAddr,
    pin::Pin,
};

use ::http::{Request, Response};
use graceful_layer::{Grace, Report, Timeouts, Tracker};
use graceful_listener::{ControlSocket, HandoffListener, Successor, SuccessorBuilder};
use graceful_signal::{ShutdownSignal, SignalKind};
use http_body::Body;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tower_service::Service;

use crate::{
    Protocol,
    connection::BoxError,
    endpoint::Endpoint,
    http::Http,
    leave::Exit,
    restart::{Ask, Canary, RestartTrigger},
    run,
    settings::{Http1Settings, Http2Settings},
};

/// Serves `service` on `listener`: an axum `Router`, tonic `Routes`, a `ServiceBuilder` stack, a `service_fn`.
///
/// The returned [`Serve`] is configured and then awaited. HTTP/1 and HTTP/2 are told apart by their first bytes, upgrades
/// work, and every connection is tracked and drained without losing a request.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use graceful_server::{Grace, HandoffListener, ShutdownSignal, SignalKind, serve};
///
/// let app = Router::new().route("/", get(|| async { "hello" }));
/// let report = serve(HandoffListener::from_env_or_bind("0.0.0.0:8080")?, app)
///     .stop_on(ShutdownSignal::terminate()?)
///     .restart_on(SignalKind::hangup())
///     .grace(Grace::default())
///     .await?;
/// println!("{report}");
/// # Ok(()) }
/// ```
pub fn serve<S, B>(listener: HandoffListener, service: S) -> Serve
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    Serve::new(Endpoint::new(listener, service))
}

/// Like [`serve`], with a service made for each connection from its peer's address.
///
/// This is what axum's `ConnectInfo` needs: `serve_make(listener,
/// app.into_make_service_with_connect_info::<SocketAddr>())`. A peer on a Unix socket has no such address: it is `[::]:0`.
///
/// The service is made before the first byte is read. A connection waits for it no longer than for a first request:
/// [`Timeouts::first_request`] in normal service, [`Grace::first_request_grace`] in a drain, and the deadline at the latest.
/// Then the future is dropped and the connection closed. The connection is closed as well if `make` returns an error or
/// panics, which is logged; a panic is in [`Report::panics`] too. If that time is over in a shutdown and the client had sent
/// something, the connection is in [`Report::cut`].
pub fn serve_make<M, S, B>(listener: HandoffListener, make: M) -> Serve
where
    M: Service<SocketAddr, Response = S, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    S::Future: 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    Serve::new(Endpoint::make(listener, make))
}

/// A server that is configured and then awaited.
///
/// Awaiting it, in order: asks the predecessor, if there is one, to let go (`graceful_listener::ready`); accepts; at the
/// stop signal goes through the phases of [`Grace`]; returns the [`Report`] when nothing of it is alive. On a restart
/// signal it starts a successor, and drains once that has taken over; if the successor dies while this one still drains,
/// it accepts again.
///
/// Under a service manager that listens (`NOTIFY_SOCKET`) it also says all of this to the manager, and how many connections
/// there are: see [`Notify`](graceful_listener::Notify), and `deploy/systemd` of the repository for the units.
///
/// # Errors
/// Awaiting it fails when a restart signal cannot be listened for, or the predecessor did not let go.
///
/// # Cancel safety
/// Dropping the future closes the listeners and drops all connections at once, with what is in flight on them.
#[must_use = "a server does nothing until it is awaited"]
pub struct Serve {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) aside: Vec<Endpoint>,
    pub(crate) http: Http,
    pub(crate) tracker: Tracker,
    pub(crate) timeouts: Timeouts,
    pub(crate) grace: Grace,
    pub(crate) stop: ShutdownSignal,
    /// With whether the successor is to serve beside this process.
    pub(crate) restart_kinds: Vec<(SignalKind, bool)>,
    pub(crate) restarts: (mpsc::UnboundedSender<Ask>, mpsc::UnboundedReceiver<Ask>),
    pub(crate) canary: Canary,
    pub(crate) control: Option<ControlSocket>,
    pub(crate) successor: SuccessorBuilder,
    pub(crate) store_listeners: bool,
    pub(crate) on_serving: Option<Box<dyn FnMut() + Send>>,
    pub(crate) on_alone: Option<Box<dyn Fn() + Send>>,
    pub(crate) max_draining: u32,
}

impl Serve {
    fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoints: vec![endpoint],
            aside: Vec::new(),
            http: Http::default(),
            tracker: Tracker::new(),
            timeouts: Timeouts::default(),
            grace: Grace::default(),
            stop: ShutdownSignal::never(),
            restart_kinds: Vec::new(),
            restarts: mpsc::unbounded_channel(),
            canary: Canary::default(),
            control: None,
            successor: Successor::builder(),
            store_listeners: false,
            on_serving: None,
            on_alone: None,
            max_draining: 3,
        }
    }

    /// Serves another listener under the same drain: that of `other`, with its service. Everything else is as `self` says;
    /// what was set on `other` is not looked at.
    pub fn and(mut self, other: Self) -> Self {
        self.endpoints.extend(other.endpoints);
        self
    }

    /// Serves another listener beside the drain and to its very end: for probes, metrics and commands, which must be
    /// answered while everything else drains, and must not hold it. With a restart it goes to the successor like the others.
    ///
    /// What is served there is neither counted nor reported. When everything else is over, what is open there gets half a
    /// second. Of `other` only listener and service are taken, as with [`and`](Self::and).
    pub fn aside(mut self, other: Self) -> Self {
        self.aside.extend(other.endpoints);
        self
    }

    /// Stops when `signal` fires; each further delivery goes on to the next phase at once.
    pub fn stop_on(mut self, signal: ShutdownSignal) -> Self {
        self.stop = signal;
        self
    }

    /// Hands over to a successor at every signal of this kind.
    ///
    /// One that comes while a restart is under way is done after it, so that what was deployed meanwhile is served: by
    /// the successor, or by this process if the restart failed. Several are one. While a canary is started
    /// ([`beside_on`](Self::beside_on)) it commits that; while one is being stopped it has another successor when that has gone.
    pub fn restart_on(mut self, kind: SignalKind) -> Self {
        self.restart_kinds.push((kind, false));
        self
    }

    /// Starts a successor at every signal of this kind that serves beside this process, until it is decided who goes on:
    /// a restart ([`restart_on`](Self::restart_on), [`RestartTrigger::restart`]) lets the successor go on alone, and
    /// stopping the successor lets this process. See [`RestartTrigger::beside`].
    ///
    /// Meanwhile clients are served by both, and operators by one: the [control socket](Self::control) and the listeners
    /// [`aside`](Self::aside) are answered by this process until it is decided, and then by whoever is left. Nobody is
    /// refused there. A signal that comes while a successor is started is refused, which is logged.
    pub fn beside_on(mut self, kind: SignalKind) -> Self {
        self.restart_kinds.push((kind, true));
        self
    }

    /// How many generations may drain at the same time, this one included; 3 if not said. When a restart makes one too
    /// many, the oldest has five seconds left before its cutoff.
    ///
    /// Each generation that drains has its memory and its connections: this bounds what quick restarts cost. Each
    /// counts by what the youngest of them says. One whose own successor is gone already is not reached, and keeps
    /// the deadline of its [`Grace`].
    pub fn max_draining(mut self, generations: u32) -> Self {
        self.max_draining = generations;
        self
    }

    /// A handle that restarts this server from within the program.
    pub fn restart_trigger(&self) -> RestartTrigger {
        RestartTrigger {
            asks: self.restarts.0.clone(),
            canary: self.canary.clone(),
        }
    }

    /// Does what is asked for at `socket`, from outside of the program and with an answer: lets a process take over that
    /// somebody else started ([`take_over`](crate::take_over)), and obeys the commands of
    /// [`listener::command`](crate::listener::command()):
    ///
    /// | command | does | is answered |
    /// |---|---|---|
    /// | `status` | | with phase, generation, pid, connections and requests in flight, as one line of JSON; `beside` is the pid of a canary, if there is one |
    /// | `drain` | begins the stop, as the stop signal does | at once |
    /// | `drain wait` | the same, or waits for the one that has begun | at the end, with the report |
    /// | `resume` | takes a lame duck back | at once |
    /// | `restart` | starts a successor | when that has taken over, or with the reason why not |
    /// | `cutoff` | cuts what is left | at once |
    ///
    /// The socket is answered to the end of the drain, and moves to the successor with the listeners.
    pub fn control(mut self, socket: ControlSocket) -> Self {
        self.control = Some(socket);
        self
    }

    /// How long each phase of the stop may take.
    pub fn grace(mut self, grace: Grace) -> Self {
        self.grace = grace;
        self
    }

    /// How long connections may take in normal service, and when idle connections are parked ([`Timeouts::park_after`]).
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Counts in `tracker` instead of one of its own: for services that look at the phase themselves, and are made
    /// before there is a server.
    pub fn with_tracker(mut self, tracker: Tracker) -> Self {
        self.tracker = tracker;
        self
    }

    /// What this server counts: phase, connections, requests. Also steers it: begin, advance, resume, cutoff.
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// How successors are started, if not as this process was: another program, other arguments, another time limit, more
    /// to take along ([`carry`](SuccessorBuilder::carry)).
    pub fn successor(mut self, successor: SuccessorBuilder) -> Self {
        self.successor = successor;
        self
    }

    /// Has idle connections move to the successor instead of closing them; off if not said.
    ///
    /// From the moment a successor has taken over, each HTTP/1 connection that is idle goes on there: its socket, with
    /// what was read from it and not understood, and its number of requests. Those with a request in flight are answered
    /// first, without `Connection: close`, and go then. Clients see none of it; their next request is answered by the
    /// new process. The new process has to say the same of itself, or connections are closed as without this.
    ///
    /// What is not covered: HTTP/2, and connections on which an upgrade was offered, taken up or not; they end as in any drain. And
    /// wherever a connection cannot be carried over, because the successor is gone, out of descriptors, or does not
    /// listen on that socket, it is closed politely here, without losing a request.
    ///
    /// The services of both processes should agree on what they keep per connection; `serve_make` makes a new one.
    pub fn move_idle_connections(mut self, on: bool) -> Self {
        self.http.exit = on.then(Exit::default);
        self
    }

    /// Stores the listeners with the service manager while this server serves ([`Notify::store`]): if it crashes and the
    /// unit says `Restart=`, clients wait for the next process instead of being refused. Off if not set.
    ///
    /// Without a manager, or without `FileDescriptorStoreMax=` in the unit, it does nothing. What is not covered is
    /// `systemctl restart`, which is a stop and a start: at a stop the store is emptied, so that nobody waits for a
    /// server that does not come. Reload instead.
    ///
    /// [`Notify::store`]: graceful_listener::Notify::store
    pub fn store_listeners(mut self, store: bool) -> Self {
        self.store_listeners = store;
        self
    }

    /// Runs `hook` when the predecessor has let go and before the first accept: the moment to say "ready", or to write a
    /// pid file. It runs once more whenever a successor that had taken over has died and this process serves again.
    pub fn on_serving(mut self, hook: impl FnMut() + Send + 'static) -> Self {
        self.on_serving = Some(Box::new(hook));
        self
    }

    /// Runs `hook` each time when this process has become the one that serves: right before
    /// [`on_serving`](Self::on_serving), but for a process that serves beside its predecessor, which is asked later; when
    /// a process beside it, of either generation, has gone; and when its successor died and it has taken over again. The
    /// moment to write a pid file.
    pub fn on_alone(mut self, hook: impl Fn() + Send + 'static) -> Self {
        self.on_alone = Some(Box::new(hook));
        self
    }

    /// What is spoken on connections.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.http.protocol = protocol;
        self
    }

    /// Speaks TLS on the listeners this server has so far: not on those that [`and`](Self::and) adds later, nor on those
    /// [`aside`](Self::aside), which bring their own.
    ///
    /// Connections are counted from before their handshake, which is bounded by
    /// [`Timeouts::handshake`](crate::Timeouts) and, in a stop, by [`Grace`]'s first-request grace; one that is under way
    /// when the stop begins is finished, and its first request served. What is spoken after it follows ALPN. A close is
    /// announced (close_notify) before the socket's end; an answer that was cut has neither.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::Router;
    /// use graceful_server::{HandoffListener, ShutdownSignal, TlsConfig, serve};
    ///
    /// let tls = TlsConfig::from_pem_files("cert.pem", "key.pem")?;
    /// serve(HandoffListener::from_env_or_bind("0.0.0.0:8443")?, Router::new())
    ///     .tls(tls)
    ///     .and(serve(HandoffListener::from_env_or_bind("127.0.0.1:8081")?, Router::new()))
    ///     .stop_on(ShutdownSignal::terminate()?)
    ///     .await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: impl Into<crate::TlsConfig>) -> Self {
        let config = config.into();
        for endpoint in &mut self.endpoints {
            endpoint.tls = Some(config.clone());
        }
        self
    }

    /// Changes hyper's settings for HTTP/1. [`Http1Settings`] documents each of them, and which of hyper's limits apply while a
    /// connection is parked. A value that hyper cannot work with is an error of the server's start (`InvalidInput`).
    pub fn http1(mut self, change: impl FnOnce(&mut Http1Settings)) -> Self {
        change(&mut self.http.http1);
        self
    }

    /// Changes hyper's settings for HTTP/2. [`Http2Settings`] documents each of them. A value that hyper cannot work with is an error of
    /// the server's start (`InvalidInput`).
    pub fn http2(mut self, change: impl FnOnce(&mut Http2Settings)) -> Self {
        change(&mut self.http.http2);
        self
    }
}

impl IntoFuture for Serve {
    type Output = io::Result<Report>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<Report>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.http.check()?;
            run::run(self).await
        })
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("endpoints", &self.endpoints)
            .field("grace", &self.grace)
            .field("tracker", &self.tracker)
            .finish_non_exhaustive()
    }
}
