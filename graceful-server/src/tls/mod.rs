//! TLS on an endpoint: whose certificate, how sessions resume after a restart, and the stream that HTTP is read from.

mod config;
mod error;
mod keys;
mod records;
mod stream;
mod tickets;

pub use self::{config::TlsConfig, error::TlsError};
pub(crate) use self::{stream::TlsStream, tickets::prepare};
