#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
mod aside;
mod connection;
mod control;
mod endpoint;
mod http;
mod leave;
mod lock;
mod log;
mod manager;
mod pool;
mod restart;
mod run;
mod serve;
pub mod settings;
mod supervisor;
#[cfg(feature = "tls")]
mod tls;
mod transport;

#[cfg(feature = "grpc-health")]
pub use graceful_layer::GrpcHealth;
pub use graceful_layer::{
    self as layer, Abandoned, Answer, Beacon, Close, ConnInfo, ConnState, ConnTrackingLayer,
    Counts, Cut, CutReason, Drain, FailAt, Grace, GracefulLayer, Health, Held, Misfit, Panicked,
    Peer, Phase, Platform, Report, RequestInfo, Timeouts, Tracker, Upload,
};
pub use graceful_listener::{
    self as listener, ControlSocket, HandoffError, HandoffFd, HandoffListener, HandoffUdp,
    ListenAddr, ListenError, Notify, NotifyState, Successor, SuccessorBuilder, take_over,
};
pub use graceful_signal::{self as signal, Cause, NotifyContext, ShutdownSignal, SignalKind};

#[cfg(feature = "tls")]
pub use self::tls::{TlsConfig, TlsError};
pub use self::{
    http::Protocol,
    restart::{RestartError, RestartTrigger},
    serve::{Serve, serve, serve_make},
    supervisor::Supervisor,
};
/// What [`TlsConfig`] is made from, in the version it takes.
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
