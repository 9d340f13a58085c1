//! The connection to one other process: the channel that carries frames, and whether that process lives.

pub(crate) mod channel;
pub(crate) mod creator;
pub(crate) mod inbox;
pub(crate) mod life;
pub(crate) mod outbox;

/// Most descriptors of one message. The kernel takes 253; a receiver's buffer has to be as large.
pub(crate) const FDS_A_MESSAGE: usize = 64;
