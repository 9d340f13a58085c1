//! einhorn's worker protocol: `EINHORN_FD_COUNT` descriptors, the first `EINHORN_FD_0`, for
//! children of `EINHORN_MASTER_PID`; and where the master is told that the worker is ready.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

use super::foreign::{Foreign, Passed, descriptor, malformed};
use super::me::Me;
use crate::error::ListenError;

pub(super) const COUNT: &str = "EINHORN_FD_COUNT";
pub(super) const MASTER: &str = "EINHORN_MASTER_PID";
pub(super) const SOCK_FD: &str = "EINHORN_SOCK_FD";
pub(super) const SOCK_PATH: &str = "EINHORN_SOCK_PATH";

/// As of systemd's protocol.
const MOST: usize = 65_536;

/// Where the master listens for commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ControlSocket {
    /// Connected already.
    Fd(RawFd),
    Path(PathBuf),
}

/// Reads the count, and of `variable` as many descriptors. They have no names.
pub(super) fn parse(
    count: &str,
    master: Option<&str>,
    variable: impl Fn(&str) -> Result<Option<String>, ListenError>,
    me: &Me,
) -> Result<Foreign, ListenError> {
    if let Some(reason) = foreign_master(master, me)? {
        return Ok(Foreign::Nothing(reason));
    }
    let number = count.parse().ok().filter(|number| *number <= MOST);
    let number: usize =
        number.ok_or_else(|| malformed(COUNT, count, format!("it is no number up to {MOST}")))?;
    if number == 0 {
        return Ok(Foreign::Nothing(format!("{COUNT} is 0")));
    }
    let one = |index: usize| {
        let name = format!("EINHORN_FD_{index}");
        let text = variable(&name)?.unwrap_or_default();
        let fd = descriptor(&text)
            .ok_or_else(|| malformed(&name, text, "it is no descriptor number from 3 up"))?;
        let name = "unknown".to_owned();
        Ok(Passed { fd, name })
    };
    (0..number)
        .map(one)
        .collect::<Result<_, _>>()
        .map(Foreign::Passed)
}

/// The reason why nothing is for `me`, if the master is not its parent.
pub(super) fn foreign_master(master: Option<&str>, me: &Me) -> Result<Option<String>, ListenError> {
    let Some(text) = master else {
        return Ok(Some(format!("{MASTER} is missing")));
    };
    let master: u32 = text
        .parse()
        .map_err(|_| malformed(MASTER, text, "it is no process number"))?;
    let reason = || format!("{MASTER} is {master}, which is not the parent of this process");
    Ok((me.parent != Some(master)).then(reason))
}

/// The socket that is open already is preferred.
pub(super) fn control_socket(
    fd: Option<&str>,
    path: Option<OsString>,
) -> Result<Option<ControlSocket>, ListenError> {
    match fd {
        Some(text) => match descriptor(text) {
            Some(fd) => Ok(Some(ControlSocket::Fd(fd))),
            None => Err(malformed(
                SOCK_FD,
                text,
                "it is no descriptor number from 3 up",
            )),
        },
        None => Ok(path.map(|path| ControlSocket::Path(path.into()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Me = Me {
        pid: 7,
        parent: Some(6),
        pidfd: None,
    };

    fn two(name: &str) -> Result<Option<String>, ListenError> {
        Ok(match name {
            "EINHORN_FD_0" => Some("5".to_owned()),
            "EINHORN_FD_1" => Some("9".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn the_worker_gets_its_descriptors_without_names() {
        let Ok(Foreign::Passed(passed)) = parse("2", Some("6"), two, &ME) else {
            panic!("nothing was passed");
        };
        let passed: Vec<_> = passed.iter().map(|p| (p.fd, p.name.as_str())).collect();
        assert_eq!(passed, [(5, "unknown"), (9, "unknown")]);
    }

    #[test]
    fn a_child_of_somebody_else_gets_nothing() {
        for master in [None, Some("5"), Some("7")] {
            let nothing = parse("x", master, two, &ME);
            assert!(matches!(nothing, Ok(Foreign::Nothing(why)) if why.contains(MASTER)));
        }
        assert!(matches!(
            parse("0", Some("6"), two, &ME),
            Ok(Foreign::Nothing(_))
        ));
    }

    #[test]
    fn numbers_that_are_none_are_malformed_and_named() {
        let fails = |count, master, named: &str| {
            let error = parse(count, Some(master), two, &ME).unwrap_err();
            assert!(
                error.is_malformed_env() && error.to_string().contains(named),
                "{error}"
            );
        };
        for count in ["", "x", "-1", "65537", "99999999999999999999"] {
            fails(count, "6", COUNT);
        }
        fails("3", "6", "EINHORN_FD_2");
        fails("1", "x", MASTER);
        for fd in ["", "x", "2", "-1"] {
            assert!(
                control_socket(Some(fd), None)
                    .unwrap_err()
                    .to_string()
                    .contains(SOCK_FD)
            );
        }
    }

    #[test]
    fn an_open_control_socket_is_preferred_to_its_path() {
        let path = || Some("/run/e.sock".into());
        let of = |fd, path| control_socket(fd, path).unwrap();
        assert_eq!(of(Some("4"), path()), Some(ControlSocket::Fd(4)));
        assert_eq!(
            of(None, path()),
            Some(ControlSocket::Path("/run/e.sock".into()))
        );
        assert_eq!(of(None, None), None);
    }
}
