//! TLS on an endpoint: whose certificate, how sessions resume after a restart, and the stream that HTTP is read from.

mod config;
mod error;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "handed over once there is a channel for it")
)]
mod keys;
mod records;
mod stream;
mod tickets;

pub use self::{config::TlsConfig, error::TlsError};
pub(crate) use self::{stream::TlsStream, tickets::prepare};
