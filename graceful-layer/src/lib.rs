#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod completion;
pub mod conn;
pub mod conn_tracking;
mod contained;
mod drain;
mod grace;
pub mod graceful;
#[cfg(feature = "grpc-health")]
mod grpc_health;
mod head;
mod health;
mod line;
mod log;
mod metrics;
mod options;
mod phase;
mod platform;
mod record;
mod report;
mod savers;
mod scope;
mod source;
mod spare;
mod state;
mod streams;
mod sync;
mod tracker;
mod tunnel;

#[cfg(feature = "hyper")]
pub use self::body::{SentBody, SentData};
#[cfg(feature = "grpc-health")]
pub use self::grpc_health::GrpcHealth;
pub use self::{
    body::ResponseBody,
    completion::{CompleteOnBody, CountedBody},
    conn::{ConnState, Connection, Peer},
    conn_tracking::{ConnTracking, ConnTrackingLayer},
    drain::Drain,
    grace::Grace,
    graceful::{Graceful, GracefulLayer},
    health::{FailAt, Health},
    phase::Phase,
    platform::{Misfit, Platform},
    report::{Abandoned, Answer, Cut, CutReason, Held, Panicked, Report, Upload},
    scope::Scope,
    state::RequestGuard,
    streams::{Close, EndSocket, EndStream},
    tracker::{Beacon, ConnInfo, Counts, RequestInfo, Timeouts, Tracker},
};
