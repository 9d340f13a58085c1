//! What the fuzzer calls: each reader of bytes or text that somebody else wrote, with what has to
//! hold of whatever it makes of them. Only there under `cfg(fuzzing)`. Guards law 13.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::addr::ListenAddr;
use crate::env::{Foreign, LONGEST_NAME, Me, VARIABLES, Variables};
use crate::udp::UdpAddr;

pub use crate::protocol::frame::fuzz_frame as frame;

const ME: Me = Me {
    pid: 7,
    parent: Some(6),
    pidfd: Some(4711),
};

/// An environment: entries that end with a NUL byte, each a byte that chooses the variable and its
/// value.
pub fn environment(data: &[u8]) {
    let entries: Vec<_> = data
        .split(|byte| *byte == 0)
        .filter_map(<[u8]>::split_first)
        .collect();
    let variables = Variables(|name: &str| {
        let chosen = |number: u8| VARIABLES[usize::from(number) % VARIABLES.len()];
        let entry = entries.iter().find(|(number, _)| chosen(**number) == name);
        entry.map(|(_, value)| OsString::from_vec(value.to_vec()))
    });
    let _ = variables.handoff();
    let _ = variables.einhorn_control(&ME);
    if let Ok(Foreign::Passed(passed)) = variables.foreign(&ME) {
        assert!(!passed.is_empty());
        for one in passed {
            assert!(one.fd >= 3 && (1..=LONGEST_NAME).contains(&one.name.len()));
        }
    }
}

/// The text of an address; what is understood reads back as it is written.
pub fn address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(addr) = text.parse::<ListenAddr>() {
        assert_eq!(addr.to_string().parse::<ListenAddr>().ok(), Some(addr));
    }
    if let Ok(addr) = text.parse::<UdpAddr>() {
        assert_eq!(addr.to_string().parse::<UdpAddr>().ok(), Some(addr));
    }
}
