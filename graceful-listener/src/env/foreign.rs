//! The result of every parser, and the helpers that the parsers share.

use std::os::fd::RawFd;

use crate::error::{Kind, ListenError};

/// Longest name of a listener that can be handed on.
pub(crate) const LONGEST_NAME: usize = 255;

/// A descriptor number that was passed to this process, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) fd: RawFd,
    pub(crate) name: String,
}

/// The listeners that a service manager passed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    Passed(Vec<Passed>),
    /// Nothing for this process, with the reason in words for the error message.
    Nothing(String),
}

/// A descriptor number as a variable has it: 0 to 2 are never a listener.
pub(super) fn descriptor(text: &str) -> Option<RawFd> {
    text.parse().ok().filter(|fd| *fd >= 3)
}

pub(super) fn malformed(
    name: &str,
    value: impl Into<String>,
    why: impl Into<String>,
) -> ListenError {
    ListenError::new(Kind::MalformedEnv {
        name: name.into(),
        value: value.into(),
        why: why.into(),
    })
}
