//! What the environment says about inherited listeners: pure parsers, one file per dialect, text
//! in and plain data out. No descriptor is touched here, so a malformed variable loses nothing.

mod handoff;
mod systemd;
mod systemfd;

use std::ffi::OsString;
use std::os::fd::RawFd;

use crate::error::{Kind, ListenError};

pub(crate) use self::handoff::ChannelFd;

/// Variables that describe how *this* process was started and would mislead the next one.
/// `NOTIFY_SOCKET` is not among them: the service manager talks to the whole unit.
pub(crate) const OF_OUR_START: [&str; 6] = [
    handoff::VARIABLE,
    systemd::FDS,
    systemd::PID,
    systemd::NAMES,
    "LISTEN_PIDFDID",
    systemfd::FIRST,
];

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

/// One variable as text: absent, or readable, or malformed.
pub(crate) struct Variables<F>(pub(crate) F);

impl<F: Fn(&'static str) -> Option<OsString>> Variables<F> {
    fn text(&self, name: &'static str) -> Result<Option<String>, ListenError> {
        match (self.0)(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(raw)) => Err(malformed(name, raw.to_string_lossy(), "it is not UTF-8")),
        }
    }

    /// Our own variable.
    pub(crate) fn handoff(&self) -> Result<Option<ChannelFd>, ListenError> {
        match self.text(handoff::VARIABLE)? {
            Some(text) => handoff::parse(&text).map(Some),
            None => Ok(None),
        }
    }

    /// What others set, in the order systemd, systemfd; `pid` is that of this process.
    pub(crate) fn foreign(&self, pid: u32) -> Result<Foreign, ListenError> {
        let fds = self.text(systemd::FDS)?;
        let listen_pid = self.text(systemd::PID)?;
        let names = self.text(systemd::NAMES)?;
        let Some(fds) = fds else {
            return Ok(Foreign::Nothing(
                "neither GRACEFUL_HANDOFF nor LISTEN_FDS is set".into(),
            ));
        };
        match self.text(systemfd::FIRST)? {
            None => systemd::parse(&fds, listen_pid.as_deref(), names.as_deref(), pid),
            Some(first) => {
                systemfd::parse(&fds, &first, listen_pid.as_deref(), names.as_deref(), pid)
            }
        }
    }
}

fn malformed(name: &'static str, value: impl Into<String>, why: impl Into<String>) -> ListenError {
    ListenError::new(Kind::MalformedEnv {
        name,
        value: value.into(),
        why: why.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(
        set: &'static [(&'static str, &'static str)],
    ) -> Variables<impl Fn(&'static str) -> Option<OsString>> {
        Variables(|name| {
            set.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.into())
        })
    }

    #[test]
    fn an_empty_environment_passes_nothing() {
        assert_eq!(variables(&[]).handoff().unwrap(), None);
        assert!(matches!(
            variables(&[]).foreign(7).unwrap(),
            Foreign::Nothing(_)
        ));
    }

    #[test]
    fn the_first_fd_variable_makes_it_systemfd() {
        let set = variables(&[("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "9")]);
        let passed = Passed {
            fd: 9,
            name: "unknown".into(),
        };
        assert_eq!(set.foreign(7).unwrap(), Foreign::Passed(vec![passed]));
        let systemd = variables(&[("LISTEN_FDS", "1"), ("LISTEN_PID", "7")]);
        let passed = Passed {
            fd: 3,
            name: "unknown".into(),
        };
        assert_eq!(systemd.foreign(7).unwrap(), Foreign::Passed(vec![passed]));
    }

    #[test]
    fn text_that_is_not_utf8_is_malformed_and_named() {
        use std::os::unix::ffi::OsStringExt;
        let raw = Variables(|name| (name == "LISTEN_FDS").then(|| OsString::from_vec(vec![0xff])));
        let error = raw.foreign(7).unwrap_err();
        assert!(error.is_malformed_env());
        assert!(error.to_string().contains("LISTEN_FDS"), "{error}");
    }
}
