//! systemfd's dialect of the systemd protocol: the first descriptor is `LISTEN_FDS_FIRST_FD`, and
//! `LISTEN_PID` may be missing, because systemfd's `--no-pid` is for programs started by a watcher.

use std::os::fd::RawFd;

use super::foreign::{Foreign, malformed};
use super::me::Me;
use super::systemd::{Meant, passed};
use crate::error::ListenError;

pub(super) const FIRST: &str = "LISTEN_FDS_FIRST_FD";

pub(super) fn parse(
    fds: &str,
    first: &str,
    meant: &Meant,
    names: Option<&str>,
    me: &Me,
) -> Result<Foreign, ListenError> {
    if let Some(reason) = meant.somebody_else(me)? {
        return Ok(Foreign::Nothing(reason));
    }
    // Room for the highest count above it, so that counting up cannot overflow.
    match first.parse::<RawFd>() {
        Ok(number @ 3..=1_000_000_000) => passed(fds, number, names),
        _ => Err(malformed(
            FIRST,
            first,
            "it is no descriptor number from 3 up",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Passed;

    fn parse(fds: &str, first: &str, pid: Option<&str>) -> Result<Foreign, ListenError> {
        let pid = pid.map(str::to_owned);
        let me = Me {
            pid: 7,
            parent: None,
            pidfd: None,
        };
        super::parse(fds, first, &Meant { pid, pidfd: None }, None, &me)
    }

    #[test]
    fn descriptors_count_from_the_first_with_or_without_a_process_number() {
        for listen_pid in [None, Some("7")] {
            let expected = [20, 21]
                .map(|fd| Passed {
                    fd,
                    name: "unknown".into(),
                })
                .to_vec();
            let got = parse("2", "20", listen_pid).unwrap();
            assert_eq!(got, Foreign::Passed(expected));
        }
    }

    #[test]
    fn a_foreign_process_number_is_no_error() {
        assert!(matches!(
            parse("2", "20", Some("8")),
            Ok(Foreign::Nothing(_))
        ));
    }

    #[test]
    fn a_first_descriptor_that_is_none_is_malformed() {
        for first in ["", "x", "-1", "2", "99999999999", "2147483647"] {
            let error = parse("1", first, None).expect_err(first);
            assert!(
                error.is_malformed_env() && error.to_string().contains(FIRST),
                "{error}"
            );
        }
    }
}
