//! What the benches share: servers as processes, a client that does what it is told and nothing else, and rivals.

pub mod floor;
pub mod maps;
pub mod ours;
pub mod process;
pub mod register;
pub mod routed;
pub mod server;
pub mod service;
pub mod wire;
