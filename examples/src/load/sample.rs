//! One request's entry in the books.

use std::time::{Duration, Instant};

use super::{Answer, Call, Loss, Outcome};

/// What became of one request.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The class it ended in.
    pub outcome: Outcome,
    /// What was seen, for a loss; empty when answered.
    pub detail: String,
    /// The generation that answered (`x-generation`), when the answer was complete.
    pub generation: Option<u32>,
    /// When the client wanted it sent: before connecting, where that was needed.
    pub started: Instant,
    /// From `started` to the last byte, or to the loss.
    pub took: Duration,
}

impl Sample {
    /// Enters a request that began at `started` and ends now, once its answer is held against the
    /// right one.
    pub fn new(started: Instant, call: &Call, result: Result<Answer, Loss>) -> Self {
        let generation = result.as_ref().ok().and_then(|answer| answer.generation);
        let (outcome, detail) = match result.and_then(|answer| call.judge(&answer)) {
            Ok(()) => (Outcome::Answered, String::new()),
            Err(loss) => (loss.outcome, loss.detail),
        };
        Self {
            outcome,
            detail,
            generation,
            started,
            took: started.elapsed(),
        }
    }
}
