//! What every parser makes, and what they have in common.

use std::os::fd::RawFd;

use crate::error::{Kind, ListenError};

/// Longest name of a listener that can be handed on.
pub(crate) const LONGEST_NAME: usize = 255;

/// A descriptor number somebody passed, with the name they gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) fd: RawFd,
    pub(crate) name: String,
}

/// What a service manager passed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    Passed(Vec<Passed>),
    /// Nothing for us, with the reason in words for whoever expected something.
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
