//! systemd's protocol: `LISTEN_FDS` descriptors from 3 up, meant for the process `LISTEN_PID`,
//! with the names `LISTEN_FDNAMES`. sd_listen_fds(3).

use std::os::fd::RawFd;

use super::{Foreign, Passed, malformed};
use crate::error::ListenError;

pub(super) const FDS: &str = "LISTEN_FDS";
pub(super) const NAMES: &str = "LISTEN_FDNAMES";
pub(super) const PID: &str = "LISTEN_PID";

const FIRST: RawFd = 3;
/// More than any process may have open under the usual limits; it keeps a mistyped count from
/// costing a system call for every number there is.
const MOST: usize = 65_536;

/// Reads the three variables. Without `LISTEN_PID` they may be left over from any ancestor, so
/// they are not for us.
pub(super) fn parse(
    fds: &str,
    listen_pid: Option<&str>,
    names: Option<&str>,
    pid: u32,
) -> Result<Foreign, ListenError> {
    match listen_pid {
        None => Ok(Foreign::Nothing(
            "LISTEN_FDS is set, but LISTEN_PID is missing".into(),
        )),
        Some(listen_pid) => match foreign_pid(listen_pid, pid)? {
            Some(reason) => Ok(Foreign::Nothing(reason)),
            None => passed(fds, FIRST, names),
        },
    }
}

/// The reason why descriptors are not for us, if they are for another process. That is no error:
/// the variables are inherited by every descendant.
pub(super) fn foreign_pid(listen_pid: &str, pid: u32) -> Result<Option<String>, ListenError> {
    let meant: u32 = listen_pid
        .parse()
        .map_err(|_| malformed(PID, listen_pid, "it is no process number"))?;
    let reason = || format!("LISTEN_PID is {meant}, and this process is {pid}");
    Ok((meant != pid).then(reason))
}

/// The descriptors `first`, `first + 1` and so on, with their names.
pub(super) fn passed(fds: &str, first: RawFd, names: Option<&str>) -> Result<Foreign, ListenError> {
    let count: usize = fds
        .parse()
        .map_err(|_| malformed(FDS, fds, "it is no number"))?;
    if count > MOST {
        return Err(malformed(FDS, fds, format!("it is more than {MOST}")));
    }
    if count == 0 {
        return Ok(Foreign::Nothing("LISTEN_FDS is 0".into()));
    }
    let names = names.unwrap_or("");
    let mut given = names.split(':').filter(|_| !names.is_empty());
    let passed = (first..)
        .take(count)
        .map(|fd| {
            let name = given
                .next()
                .filter(|name| !name.is_empty())
                .unwrap_or("unknown");
            Passed {
                fd,
                name: name.to_owned(),
            }
        })
        .collect();
    if names.split(':').any(|name| name.len() > 255) {
        return Err(malformed(NAMES, names, "a name is longer than 255 bytes"));
    }
    match given.count() {
        0 => Ok(Foreign::Passed(passed)),
        more => Err(malformed(
            NAMES,
            names,
            format!("it has {more} more names than LISTEN_FDS"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(foreign: Result<Foreign, ListenError>) -> Vec<(RawFd, String)> {
        match foreign.unwrap() {
            Foreign::Passed(passed) => passed.into_iter().map(|p| (p.fd, p.name)).collect(),
            Foreign::Nothing(why) => panic!("{why}"),
        }
    }

    #[test]
    fn descriptors_count_from_three_and_carry_their_names() {
        let got = names_of(parse("2", Some("7"), Some("http:admin"), 7));
        assert_eq!(got, [(3, "http".to_owned()), (4, "admin".to_owned())]);
    }

    #[test]
    fn names_that_are_missing_or_empty_are_unknown() {
        for names in [None, Some(""), Some("a"), Some("a:"), Some("a::b")] {
            let got = names_of(parse("3", Some("7"), names, 7));
            let first = if names.is_some_and(|names| !names.is_empty()) {
                "a"
            } else {
                "unknown"
            };
            assert_eq!(
                (got[0].1.as_str(), got[1].1.as_str()),
                (first, "unknown"),
                "{names:?}"
            );
        }
    }

    #[test]
    fn more_names_than_descriptors_is_malformed() {
        let error = parse("1", Some("7"), Some("a:b:c"), 7).unwrap_err();
        assert!(
            error.is_malformed_env() && error.to_string().contains(NAMES),
            "{error}"
        );
    }

    #[test]
    fn a_name_that_could_not_be_handed_on_is_malformed() {
        let longest = "x".repeat(255);
        assert_eq!(
            names_of(parse("1", Some("7"), Some(&longest), 7))[0].1,
            longest
        );
        let error = parse("1", Some("7"), Some(&"x".repeat(256)), 7).unwrap_err();
        assert!(error.is_malformed_env());
    }

    #[test]
    fn descriptors_of_another_process_or_of_nobody_are_none_and_no_error() {
        for listen_pid in [Some("8"), None] {
            let got = parse("1", listen_pid, None, 7).unwrap();
            assert!(matches!(got, Foreign::Nothing(why) if why.contains(PID)));
        }
        // What is meant for others is not even read: a foreign count may be anything.
        assert!(matches!(
            parse("x", Some("8"), None, 7),
            Ok(Foreign::Nothing(_))
        ));
        assert!(matches!(
            parse("0", Some("7"), None, 7),
            Ok(Foreign::Nothing(_))
        ));
    }

    #[test]
    fn counts_and_process_numbers_that_are_none_are_malformed() {
        for count in ["", "x", "-1", "1 ", "65537", "99999999999"] {
            let error = parse(count, Some("7"), None, 7).expect_err(count);
            assert!(
                error.is_malformed_env() && error.to_string().contains(FDS),
                "{error}"
            );
        }
        for pid in ["", "x", "-1", "99999999999"] {
            let error = parse("1", Some(pid), None, 7).expect_err(pid);
            assert!(
                error.is_malformed_env() && error.to_string().contains(PID),
                "{error}"
            );
        }
    }
}
