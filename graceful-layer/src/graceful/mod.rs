//! The HTTP middleware: counts requests to their last body byte, and says when an answer is the last one.

#[cfg(feature = "axum")]
pub mod around;
#[cfg(feature = "hyper")]
mod called;
pub mod future;
mod layer;
mod service;
#[cfg(feature = "hyper")]
pub mod until_sent;
mod upgrade;

pub use self::{layer::GracefulLayer, service::Graceful};
