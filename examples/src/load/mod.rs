//! A client that loses nothing by accident: every request ends in exactly one [`Outcome`].
//!
//! Ordinary HTTP clients are made to hide what we want to see. They retry, pool, race and report
//! "connection error" for five different things. This one sends a [`Call`] once and says what
//! happened on the wire: was it answered in full, and if not, did the server refuse the connection,
//! reset it, close it without a word, or cut the answer in the middle? It repeats a request in one
//! case only: when not a byte of it had left, because the kernel (HTTP/1) or the frames already
//! read (HTTP/2) said beforehand that the connection was at its end.
//!
//! - [`Http1`] is one connection after the other, watched while it is idle;
//! - [`Http2`] is one connection at a time shared by all clones, with every frame's order known;
//! - [`Call`] knows the reference server's paths and the one right answer to each;
//! - [`Sample`] is what comes back: outcome, generation that answered, time taken.

mod answer;
mod call;
mod closes;
mod http1;
mod http2;
mod outcome;
mod sample;

pub use self::answer::Answer;
pub use self::call::{Call, Expect};
pub use self::closes::Closes;
pub use self::http1::Http1;
pub use self::http2::Http2;
pub use self::outcome::{Loss, Outcome};
pub use self::sample::Sample;
