//! What the benches share: servers as processes, a client that does what it is told and nothing else, and rivals.

pub mod floor;
pub mod maps;
pub mod process;
pub mod register;
pub mod service;
pub mod wire;
