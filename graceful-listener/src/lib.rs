#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(unix))]
compile_error!("graceful-listener needs Unix: listeners are handed over as file descriptors");

mod addr;
#[cfg(feature = "axum")]
mod axum;
mod backoff;
mod bind;
mod carried;
mod check;
mod control;
mod env;
mod error;
mod fault;
mod fd;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod handoff;
mod incoming;
mod inherited;
mod link;
mod listener;
mod log;
mod notify;
mod options;
mod peer;
mod platform;
mod protocol;
mod reactor;
mod stream;
mod sys;
#[cfg(feature = "tonic")]
mod tonic;
mod udp;

pub use self::addr::ListenAddr;
pub use self::carried::Carried;
pub use self::control::{ControlCommand, ControlRequest, ControlSocket, command, take_over};
pub use self::error::{HandoffError, ListenError};
pub use self::fd::HandoffFd;
pub use self::handoff::{
    Beside, Candidate, Handover, InheritedState, Moved, Mover, Moving, News, Preparation,
    Replacement, RestartRequest, Successor, SuccessorBuilder, Turn, Worker, WorkerNews,
    ask_supervisor, decline, expect_replacement, extend, generation, hurry, inherited_state,
    is_beside, is_worker, leave, news, ready, reclaimed, reparented, take_connections,
    tell_supervisor,
};
pub use self::incoming::Incoming;
pub use self::inherited::unclaimed;
pub use self::listener::HandoffListener;
pub use self::notify::{Notify, NotifyState};
pub use self::options::ListenOptions;
pub use self::peer::PeerAddr;
pub use self::stream::Stream;
pub use self::udp::{HandoffUdp, UdpAddr};
