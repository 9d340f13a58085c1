//! Which process of a hand-over is the main one of the unit.
//!
//! A unit lives and dies with its main process. So a successor says that it is the one before it
//! is even executed: if the predecessor is killed from then on, at whatever moment, the manager
//! does not end the successor with it. With `NotifyAccess=main` that is not heard, and is no harm;
//! then what the predecessor says at COMMIT is. If the successor fails, the predecessor says that
//! it is the one again.

use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketType, sendto, socket};
use rustix::process::getpid;

use super::socket::Address;
use super::{Notify, NotifyState};

/// What the manager is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MainPid {
    /// This process.
    Own,
    /// The successor.
    Successor(u32),
}

impl MainPid {
    pub(crate) fn tell(self) {
        let pid = match self {
            Self::Own => std::process::id(),
            Self::Successor(pid) => pid,
        };
        if let Err(_error) = Notify::from_env().send(&[NotifyState::MainPid(pid)]) {
            crate::log::not_notified(&_error);
        }
    }
}

/// "I am the main process", to be said between fork and exec, where only system calls are allowed
/// (signal-safety(7)): no allocation, no lock.
#[derive(Debug)]
pub(crate) struct Claim(SocketAddrUnix);

impl Claim {
    /// Nothing without a manager.
    pub(crate) fn from_env() -> Option<Self> {
        match Notify::from_env().address {
            Address::Socket(address) => Some(Self(address)),
            Address::Nobody | Address::Malformed(_) => None,
        }
    }

    /// Says it for the process that runs this. If it does not get through, COMMIT still tells.
    pub(crate) fn say(&self) {
        let mut message = *b"MAINPID=\0\0\0\0\0\0\0\0\0\0";
        let digits = write_digits(
            getpid().as_raw_nonzero().get().unsigned_abs(),
            &mut message[8..],
        );
        if let Ok(socket) = socket(AddressFamily::UNIX, SocketType::DGRAM, None) {
            let _ = sendto(
                &socket,
                &message[..8 + digits],
                SendFlags::DONTWAIT,
                &self.0,
            );
        }
    }
}

/// In decimal, and how many digits that took. The manager reads a leading zero as octal.
fn write_digits(mut number: u32, into: &mut [u8]) -> usize {
    let mut digits = 0;
    for digit in &mut *into {
        // The remainder of a division by ten fits into a byte.
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        digits += 1;
        if number == 0 {
            break;
        }
    }
    into[..digits].reverse();
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_without_leading_zeros() {
        for number in [0, 7, 10, 4711, u32::MAX] {
            let mut into = [0; 10];
            let digits = write_digits(number, &mut into);
            assert_eq!(into[..digits], *number.to_string().as_bytes());
        }
    }
}
