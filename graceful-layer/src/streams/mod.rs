//! Answers that would not end by themselves, ended in their protocol's own words, so that their clients come back
//! elsewhere: event streams, gRPC streams, long polls, WebSockets.
//!
//! Nothing here knows a framework: what is sent last is made by the caller.

mod end_socket;
mod end_stream;
mod poll;

use std::{future::Future, pin::Pin, time::Duration};

pub use self::{
    end_socket::{Close, EndSocket},
    end_stream::EndStream,
};
use crate::Drain;

/// One caller's moment in the spread, to be kept in a stream.
type Told = Pin<Box<dyn Future<Output = ()> + Send>>;

fn told(drain: &Drain, spread: Duration) -> Told {
    let drain = drain.clone();
    Box::pin(async move { drain.draining_within(spread).await })
}
