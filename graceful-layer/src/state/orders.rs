//! What a connection has been told, in one word it can read at every poll.

use crate::phase::Phase;

const RAMP: u32 = 0xff << 8;

/// Phase (bits 0..8), ramp (8..16) and marks, as stored in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orders(pub(super) u32);

impl Orders {
    /// Close as soon as nothing is on the way: end of file is shown to whoever reads.
    pub(crate) const CLOSE: u32 = 1 << 16;
    /// Drop everything now.
    pub(crate) const CUT: u32 = 1 << 17;
    /// Somebody waits for this cell's last request.
    pub(super) const TELL: u32 = 1 << 18;
    /// A successor takes connections that are idle. Independent of the phase.
    pub(crate) const MOVE: u32 = 1 << 19;

    /// The connection was silent for a while, or it received bytes that are either a body or the next request: it is to be
    /// detached from its HTTP/1 server.
    pub(crate) const DETACH: u32 = 1 << 20;

    /// Orders of a phase alone. `ramp` is the share of answers, in 255ths, that say close in lame duck. For a connection it
    /// is nothing or all.
    pub(crate) const fn new(phase: Phase, ramp: u8) -> Self {
        Self(phase as u32 | (ramp as u32) << 8)
    }

    pub(crate) const fn phase(self) -> Phase {
        Phase::from_bits(self.0 as u8)
    }

    pub(crate) const fn ramp(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The orders of a connection that is opened now: its own turn in a lame duck is still to come.
    pub(crate) const fn of_new_connection(self) -> Self {
        Self(self.0 & !RAMP)
    }

    pub(crate) const fn says(self, mark: u32) -> bool {
        self.0 & mark != 0
    }

    /// Whether an answer given under these orders is the last of its connection. `dice` decides in lame duck.
    pub(crate) fn retires(self, dice: impl FnOnce() -> u8) -> bool {
        match self.phase() {
            Phase::Serving => false,
            Phase::LameDuck => match self.ramp() {
                0 => false,
                u8::MAX => true,
                ramp => dice() < ramp,
            },
            _ => true,
        }
    }
}
