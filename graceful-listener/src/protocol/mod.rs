//! The protocol between two generations: pure data and the table of the old process. No descriptor, no clock, no process.

pub(crate) mod codec;
pub(crate) mod frame;
pub(crate) mod machine;
pub(crate) mod record;
