//! Which of the inherited listeners is meant: pure rules over names and addresses.

use crate::addr::ListenAddr;
use crate::notify::{is_called, is_stored};

/// The name of a listener whose manager gave it none.
const NAMELESS: &str = "unknown";

/// One listener that nobody has claimed yet.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) name: &'a str,
    /// Where it listens and whether only for version 6; nothing if it is unusable.
    pub(super) addr: Option<(&'a ListenAddr, bool)>,
}

/// What is asked for by `from_env_or_bind`.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    /// Whether the caller chose the name, and it is not just the text of the address.
    pub(super) named: bool,
    pub(super) addr: &'a ListenAddr,
    /// Whether a service manager passed the listeners. It passes what this configuration asks
    /// it to, so what does not fit is a mistake; a predecessor passes what *its* configuration
    /// had, and a listener may well have been added since.
    pub(super) foreign: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// This one, usable or not: if not, its error is the answer.
    Take(usize),
    /// These were handed over, and none of them fits.
    Mismatch(Vec<usize>),
    Bind,
}

/// By name first, then by address. A second socket is bound only if nothing that was handed over
/// can have been meant: clients may queue at the first one and would never be served.
pub(super) fn choose(candidates: &[Candidate<'_>], wanted: &Wanted<'_>) -> Choice {
    let find = |is: &dyn Fn(&Candidate<'_>) -> bool| candidates.iter().position(is);
    let all = |is: &dyn Fn(&Candidate<'_>) -> bool| -> Vec<usize> {
        (0..candidates.len())
            .filter(|index| is(&candidates[*index]))
            .collect()
    };
    let fits = |c: &Candidate<'_>| {
        c.addr
            .is_some_and(|(addr, only_v6)| wanted.addr.is_served_by(addr, only_v6))
    };
    // What was stored was asked for by this service's configuration of then, as from a predecessor,
    // and comes after what is passed now: that may be the very socket.
    let stored = |c: &Candidate<'_>| is_stored(c.name);
    let same_name = |c: &Candidate<'_>| !stored(c) && c.name == wanted.name;
    let passed = |c: &Candidate<'_>| wanted.foreign && !stored(c);
    let broken = |c: &Candidate<'_>| c.addr.is_none();
    let may_be_meant = |c: &Candidate<'_>| !wanted.named || c.name == NAMELESS;

    let by_name =
        find(&|c| same_name(c) && fits(c)).or_else(|| find(&|c| same_name(c) && broken(c)));
    if let Some(index) = by_name {
        return Choice::Take(index);
    }
    let namesakes = all(&same_name);
    if !namesakes.is_empty() {
        return Choice::Mismatch(namesakes);
    }
    let by_address = find(&|c| !stored(c) && fits(c))
        .or_else(|| find(&|c| passed(c) && broken(c) && may_be_meant(c)))
        .or_else(|| find(&|c| is_called(c.name, wanted.name) && fits(c)))
        .or_else(|| find(&fits));
    match by_address {
        Some(index) => Choice::Take(index),
        None if !wanted.named && candidates.iter().any(passed) => Choice::Mismatch(all(&passed)),
        None => Choice::Bind,
    }
}

#[cfg(test)]
mod tests;
