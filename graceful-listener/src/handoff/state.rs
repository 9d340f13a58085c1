//! Application state on its way from one generation to the next: a few named blobs, which the old
//! process makes when it introduces itself and the new one reads before it starts. Guards law 11:
//! a state that is too large, or that the new process cannot read, ends the attempt and nothing
//! else.

use std::fmt;
use std::sync::Arc;

use super::contained::contained;
use crate::error::HandoffError;
use crate::protocol::frame::{CAP, Frame};

/// What all blobs of one hand-over may have together: it is held in memory on both sides.
pub(super) const MOST: usize = 16 * 1024 * 1024;
/// Longest name, as of a listener.
const LONGEST_NAME: usize = 255;
/// Bytes of a blob in one frame, beside its name and some numbers.
const PIECE: usize = CAP - 1024;

/// What the old process of a hand-over gave to this one under a name, as
/// [`inherited_state`](crate::inherited_state) returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InheritedState {
    /// Which form the bytes have, in the numbers of the application.
    pub schema: u32,
    /// What the old process made.
    pub bytes: Vec<u8>,
}

/// How the old process makes one blob.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) schema: u32,
    pub(super) make: Arc<dyn Fn() -> Vec<u8> + Send + Sync>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// Makes all blobs, and the frames that carry them.
pub(super) fn frames(sources: &[Source]) -> Result<Vec<Frame>, HandoffError> {
    let (mut frames, mut total) = (Vec::new(), 0);
    for Source { name, schema, make } in sources {
        if name.len() > LONGEST_NAME {
            let why = format!(
                "its name has {} bytes, at most {LONGEST_NAME} fit",
                name.len()
            );
            return Err(HandoffError::bad_state(name, why));
        }
        let blob = contained(&**make).map_err(|why| HandoffError::bad_state(name, why))?;
        total += blob.len();
        if total > MOST {
            let why = format!(
                "with its {} bytes all state has {total}, at most {MOST} are sent",
                blob.len()
            );
            return Err(HandoffError::bad_state(name, why));
        }
        pieces(name, *schema, &blob, &mut frames);
    }
    Ok(frames)
}

/// At least one piece: an empty blob is one, too.
fn pieces(name: &str, schema: u32, mut rest: &[u8], frames: &mut Vec<Frame>) {
    loop {
        let (blob, left) = rest.split_at(rest.len().min(PIECE));
        rest = left;
        frames.push(Frame::State {
            name: name.to_owned(),
            schema,
            more: !rest.is_empty(),
            blob: blob.to_vec(),
        });
        if rest.is_empty() {
            return;
        }
    }
}

/// The blobs as they arrive in the new process.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    pub(super) complete: Vec<(String, InheritedState)>,
    open: Option<(String, InheritedState)>,
    total: usize,
}

impl Arrivals {
    /// Adds a piece.
    pub(super) fn add(
        &mut self,
        name: String,
        schema: u32,
        more: bool,
        blob: Vec<u8>,
    ) -> Result<(), HandoffError> {
        self.total += blob.len();
        if self.total > MOST {
            return Err(HandoffError::protocol(format!(
                "more than {MOST} bytes of state"
            )));
        }
        let arrived = match self.open.take() {
            None => (
                name,
                InheritedState {
                    schema,
                    bytes: blob,
                },
            ),
            Some((begun, mut state)) if begun == name && state.schema == schema => {
                state.bytes.extend(blob);
                (begun, state)
            }
            Some(_) => {
                return Err(HandoffError::protocol(
                    "a blob of state begins within another",
                ));
            }
        };
        match more {
            true => self.open = Some(arrived),
            false => self.complete.push(arrived),
        }
        Ok(())
    }

    /// All of it, once nothing more is to come.
    pub(super) fn finish(self) -> Result<Vec<(String, InheritedState)>, HandoffError> {
        match self.open {
            None => Ok(self.complete),
            Some((name, _)) => Err(HandoffError::protocol(format!(
                "the end of state {name:?} is missing"
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
