//! Ends the arrival of connections, so that a queue can be emptied for good before it is closed.
//!
//! Between the last accept, which finds the queue empty, and close(2) the kernel may establish
//! another connection, and closing resets it with the request on it. Guards law 8: it is for a
//! socket that nobody else holds.

use std::io;
use std::os::fd::BorrowedFd;

/// Drops packets that begin a connection; what has begun goes on until the socket is closed, and a
/// handshake that is half done by then is reset. Whoever sent one asks again after a second, and is
/// refused by then.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn turn_away(socket: BorrowedFd<'_>) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};

    /// The flags of a TCP header, and two of them (RFC 9293 §3.1).
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    /// Classic BPF, socket(7): load the byte, mask it, compare it, and keep nothing or all.
    const NO_SYN: [SockFilter; 5] = [
        SockFilter::new(0x30, 0, 0, FLAGS),
        SockFilter::new(0x54, 0, 0, SYN | ACK),
        SockFilter::new(0x15, 0, 1, SYN),
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    SockRef::from(&socket).attach_filter(&NO_SYN)
}

/// The same for a Unix socket, whose path somebody may have looked up before it was removed: the
/// kernel refuses from here on whoever comes, and keeps who is in the queue. It does neither for
/// TCP, where a shutdown resets the queue.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn refuse(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::net::shutdown(socket, rustix::net::Shutdown::Read)?)
}

/// Other systems have no such filter.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn turn_away(_: BorrowedFd<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nor do they shut a listening socket down.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn refuse(_: BorrowedFd<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
