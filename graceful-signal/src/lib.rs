#![doc = include_str!("../README.md")]
//!
//! # How it is built
//! - A *source* counts its deliveries; a [`ShutdownSignal`] is a handle on one source or, after
//!   [`or`](ShutdownSignal::or), on several. Handles share the source, so the last one to go ends it.
//! - Operating-system signals are caught by one handler per process and kind that writes a byte for
//!   each delivery. A count of who wants the kind decides whether its default action comes first;
//!   that is what makes [`NotifyContext::stop`] work on a blocked runtime.
//! - Every other source is a task that waits for its event, once.
//!
//! # Feature flags
//! - `tracing`: one event at level `info` for each delivery, with `level` and `cause`.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cause;
mod cell;
mod constructors;
mod context;
mod error;
mod hook;
mod kind;
mod listen;
mod poll;
mod runtime;
mod signal;
mod source;
mod trigger;

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod platform;

pub use cause::Cause;
pub use context::NotifyContext;
pub use hook::{Hook, on_signal};
pub use kind::SignalKind;
pub use signal::ShutdownSignal;
pub use trigger::Trigger;
