//! What the examples share: the client that counts what is lost.

pub mod load;

/// The program in the README must compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
