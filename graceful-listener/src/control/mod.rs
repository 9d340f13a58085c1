//! The control socket: how a process that is not a child of the server reaches it, to take over or
//! to ask for something. The server's side is `socket` and `request`, the other one `client`.
//!
//! A connection begins with HELLO and COMMAND. Where the command is `takeover` the server says HELLO, waits for
//! the same, and goes on as with a process that it started; all others get one ANSWER. Whoever is
//! refused before that gets ABORT with the reason.

mod client;
mod request;
mod socket;
mod takeover;

pub use self::client::command;
pub use self::request::{ControlCommand, ControlRequest};
pub use self::socket::ControlSocket;
pub use self::takeover::take_over;

/// The command by which a process requests the place of this one.
const TAKEOVER: &str = "takeover";
