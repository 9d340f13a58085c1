//! The hand-over. The old process runs a state machine (`protocol::machine`, pure) through its driver
//! (`attempt`, `rollback`); the new one finds out who started it (`heritage`) and waits for its
//! turn (`predecessor`). A process that another program started takes over through `control`.
//! Between them a channel (`link`) carries frames (`protocol`).

mod asking;
mod attempt;
mod bridge;
mod calls;
pub(crate) mod candidate;
mod contained;
mod exec;
pub(crate) mod heritage;
pub(crate) mod introduction;
mod legacy;
mod moving;
mod news;
mod origin;
mod patience;
mod plan;
mod predecessor;
mod preflight;
mod process;
mod questions;
mod rollback;
mod spawn;
mod started;
mod state;
mod successor;
mod worker;

pub use self::asking::{ask_supervisor, tell_supervisor};
pub use self::bridge::{Preparation, Replacement, expect_replacement, reclaimed};
pub use self::calls::{
    decline, extend, generation, hurry, inherited_state, is_beside, is_worker, leave, ready,
    reparented,
};
pub use self::candidate::Candidate;
pub use self::moving::{Mover, Moving, Turn};
pub use self::news::{Moved, News, news, take_connections};
pub use self::questions::RestartRequest;
pub use self::state::InheritedState;
pub use self::successor::{Beside, Handover, Successor, SuccessorBuilder};
pub use self::worker::{Worker, WorkerNews};

pub(crate) use self::calls::{is_sole, may_accept, owns_paths};
pub(crate) use self::heritage::{Heritage, heritage};
pub(crate) use self::legacy::Delivered;
pub(crate) use self::origin::Origin;
pub(crate) use self::process::while_alone;
