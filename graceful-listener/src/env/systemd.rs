//! systemd's protocol: `LISTEN_FDS` descriptors from 3 up, meant for the process `LISTEN_PID`,
//! with the names `LISTEN_FDNAMES`. From version 258 on `LISTEN_PIDFDID`, the inode of the
//! process's pidfd, says which process of that number is meant. sd_listen_fds(3).

use std::os::fd::RawFd;

use super::foreign::{Foreign, LONGEST_NAME, Passed, malformed};
use super::me::Me;
use crate::error::ListenError;

pub(super) const FDS: &str = "LISTEN_FDS";
pub(super) const NAMES: &str = "LISTEN_FDNAMES";
pub(super) const PID: &str = "LISTEN_PID";
pub(super) const PIDFDID: &str = "LISTEN_PIDFDID";

const FIRST: RawFd = 3;
/// More than any process may have open under the usual limits; it keeps a mistyped count from
/// costing a system call for every number there is.
const MOST: usize = 65_536;

/// Which process is meant, as text.
#[derive(Debug, Default)]
pub(super) struct Meant {
    pub(super) pid: Option<String>,
    pub(super) pidfd: Option<String>,
}

impl Meant {
    /// The reason why descriptors are not for `me`, if they are for another process. That is no
    /// error: the variables are inherited by every descendant.
    pub(super) fn somebody_else(&self, me: &Me) -> Result<Option<String>, ListenError> {
        if let Some(text) = &self.pid {
            let pid: u32 = text
                .parse()
                .map_err(|_| malformed(PID, text, "it is no process number"))?;
            if pid != me.pid {
                let own = me.pid;
                return Ok(Some(format!("{PID} is {pid}, and this process is {own}")));
            }
        }
        let Some(text) = &self.pidfd else {
            return Ok(None);
        };
        let meant: u64 = text
            .parse()
            .map_err(|_| malformed(PIDFDID, text, "it is no inode number"))?;
        // A kernel that does not number its processes so leaves it at the process number.
        let foreign = me.pidfd.filter(|own| *own != meant);
        Ok(foreign.map(|own| format!("{PIDFDID} is {meant}, and this process is {own}")))
    }
}

/// Reads the variables. Without `LISTEN_PID` they may be left over from any ancestor, so they are
/// not for us.
pub(super) fn parse(
    fds: &str,
    meant: &Meant,
    names: Option<&str>,
    me: &Me,
) -> Result<Foreign, ListenError> {
    if meant.pid.is_none() {
        let why = "LISTEN_FDS is set, but LISTEN_PID is missing";
        return Ok(Foreign::Nothing(why.into()));
    }
    match meant.somebody_else(me)? {
        Some(reason) => Ok(Foreign::Nothing(reason)),
        None => passed(fds, FIRST, names),
    }
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
    if names.split(':').any(|name| name.len() > LONGEST_NAME) {
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

    const ME: Me = Me {
        pid: 7,
        parent: None,
        pidfd: Some(4711),
    };

    fn parse(fds: &str, pid: Option<&str>, names: Option<&str>) -> Result<Foreign, ListenError> {
        let pid = pid.map(str::to_owned);
        let meant = Meant { pid, pidfd: None };
        super::parse(fds, &meant, names, &ME)
    }

    fn names_of(foreign: Result<Foreign, ListenError>) -> Vec<(RawFd, String)> {
        match foreign.unwrap() {
            Foreign::Passed(passed) => passed.into_iter().map(|p| (p.fd, p.name)).collect(),
            Foreign::Nothing(why) => panic!("{why}"),
        }
    }

    #[test]
    fn descriptors_count_from_three_and_carry_their_names() {
        let got = names_of(parse("2", Some("7"), Some("http:admin")));
        assert_eq!(got, [(3, "http".to_owned()), (4, "admin".to_owned())]);
    }

    #[test]
    fn names_that_are_missing_or_empty_are_unknown() {
        for names in [None, Some(""), Some("a"), Some("a:"), Some("a::b")] {
            let got = names_of(parse("3", Some("7"), names));
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
        let error = parse("1", Some("7"), Some("a:b:c")).unwrap_err();
        assert!(
            error.is_malformed_env() && error.to_string().contains(NAMES),
            "{error}"
        );
    }

    #[test]
    fn a_name_that_could_not_be_handed_on_is_malformed() {
        let longest = "x".repeat(255);
        assert_eq!(
            names_of(parse("1", Some("7"), Some(&longest)))[0].1,
            longest
        );
        let error = parse("1", Some("7"), Some(&"x".repeat(256))).unwrap_err();
        assert!(error.is_malformed_env());
    }

    #[test]
    fn descriptors_of_another_process_or_of_nobody_are_none_and_no_error() {
        for listen_pid in [Some("8"), None] {
            let got = parse("1", listen_pid, None).unwrap();
            assert!(matches!(got, Foreign::Nothing(why) if why.contains(PID)));
        }
        // What is meant for others is not even read: a foreign count may be anything.
        assert!(matches!(
            parse("x", Some("8"), None),
            Ok(Foreign::Nothing(_))
        ));
        assert!(matches!(
            parse("0", Some("7"), None),
            Ok(Foreign::Nothing(_))
        ));
    }

    #[test]
    fn counts_and_process_numbers_that_are_none_are_malformed() {
        for count in ["", "x", "-1", "1 ", "65537", "99999999999"] {
            let error = parse(count, Some("7"), None).expect_err(count);
            assert!(
                error.is_malformed_env() && error.to_string().contains(FDS),
                "{error}"
            );
        }
        for pid in ["", "x", "-1", "99999999999"] {
            let error = parse("1", Some(pid), None).expect_err(pid);
            assert!(
                error.is_malformed_env() && error.to_string().contains(PID),
                "{error}"
            );
        }
    }

    #[test]
    fn a_process_number_that_was_used_again_is_told_apart_by_the_pidfd() {
        let told = |pidfd: &str, own| {
            let meant = Meant {
                pid: Some("7".into()),
                pidfd: Some(pidfd.into()),
            };
            super::parse("1", &meant, None, &Me { pidfd: own, ..ME })
        };
        assert!(matches!(told("4711", Some(4711)), Ok(Foreign::Passed(_))));
        assert!(
            matches!(told("4712", Some(4711)), Ok(Foreign::Nothing(why)) if why.contains(PIDFDID))
        );
        assert!(matches!(told("4712", None), Ok(Foreign::Passed(_))));
        for text in ["", "x", "-1"] {
            let error = told(text, Some(4711)).expect_err(text);
            assert!(error.to_string().contains(PIDFDID), "{error}");
        }
    }
}
