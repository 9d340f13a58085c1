//! The hand-over. The old process runs a state machine (`machine`, pure) through its driver
//! (`attempt`, `rollback`); the new one finds out who started it (`heritage`) and waits for its
//! turn (`predecessor`). Between them a `channel` carries `frame`s.

mod attempt;
mod channel;
mod codec;
mod error;
mod frame;
mod heritage;
mod inbox;
mod introduction;
mod machine;
mod origin;
mod outbox;
mod patience;
mod predecessor;
mod preflight;
mod process;
mod record;
mod rollback;
mod spawn;
mod started;
mod state;
mod successor;

pub use self::error::HandoffError;
#[cfg(fuzzing)]
pub use self::frame::fuzz_frame;
pub use self::predecessor::{decline, extend, generation, leave, ready};
pub use self::state::{InheritedState, inherited_state};
pub use self::successor::{Handover, Successor, SuccessorBuilder};

pub(crate) use self::heritage::{Delivered, Heritage, heritage};
pub(crate) use self::origin::Origin;
pub(crate) use self::predecessor::may_accept;
pub(crate) use self::record::{Record, Socket};

/// Most descriptors of one message. The kernel takes 253; a receiver's buffer has to be as large.
const FDS_A_MESSAGE: usize = 64;
