//! What the examples share: the client that counts what is lost, and how durations are written.

mod duration;
pub mod load;

pub use self::duration::duration;

/// The program in the README must compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
