//! What the benches share: servers as processes, and a client that does what it is told and nothing else.

pub mod process;
pub mod service;
pub mod wire;
