//! The general middleware: counts the requests of any service, HTTP or not.

pub mod future;
mod layer;
mod service;

pub use self::{layer::ConnTrackingLayer, service::ConnTracking};
