//! What the environment says about inherited listeners: pure parsers, one file per dialect, text
//! in and plain data out. No descriptor is touched here, so a malformed variable loses nothing.

mod einhorn;
mod foreign;
mod handoff;
mod json;
mod me;
mod starter;
mod systemd;
mod systemfd;

use std::ffi::OsString;

use self::foreign::malformed;
use crate::error::ListenError;

pub(crate) use self::einhorn::ControlSocket;
pub(crate) use self::foreign::{Foreign, LONGEST_NAME, Passed};
pub(crate) use self::handoff::ChannelFd;
pub(crate) use self::me::Me;

/// Variables that describe how *this* process was started and would mislead the next one.
/// `NOTIFY_SOCKET` is not among them: the service manager talks to the whole unit.
const OF_OUR_START: [&str; 12] = [
    handoff::VARIABLE,
    systemd::FDS,
    systemd::PID,
    systemd::NAMES,
    systemd::PIDFDID,
    systemfd::FIRST,
    einhorn::COUNT,
    einhorn::MASTER,
    einhorn::SOCK_FD,
    einhorn::SOCK_PATH,
    starter::PORT,
    starter::GENERATION,
];

/// All that are read, for the fuzzer.
#[cfg(fuzzing)]
pub(crate) const VARIABLES: [&str; 14] = [
    handoff::VARIABLE,
    systemd::FDS,
    systemd::PID,
    systemd::NAMES,
    systemd::PIDFDID,
    systemfd::FIRST,
    einhorn::COUNT,
    einhorn::MASTER,
    "EINHORN_FD_0",
    "EINHORN_FD_1",
    einhorn::SOCK_FD,
    einhorn::SOCK_PATH,
    starter::PORT,
    json::VARIABLE,
];

/// Returns those variables, and `LISTENER` if it is what it would be read as: the name is common
/// enough to mean something else, which the next process is to have as well.
pub(crate) fn of_our_start() -> impl Iterator<Item = &'static str> {
    let listener = std::env::var(json::VARIABLE).is_ok_and(|text| json::is_meant(&text));
    OF_OUR_START
        .into_iter()
        .chain(listener.then_some(json::VARIABLE))
}

/// One variable as text: absent, or readable, or malformed.
pub(crate) struct Variables<F>(pub(crate) F);

impl<F: Fn(&str) -> Option<OsString>> Variables<F> {
    fn text(&self, name: &str) -> Result<Option<String>, ListenError> {
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

    /// What others set, the first that is for the process `me`. They nest: what systemd passed to
    /// a starter is not for us, and what the starter passes on is.
    pub(crate) fn foreign(&self, me: &Me) -> Result<Foreign, ListenError> {
        let dialects = [Self::systemd, Self::einhorn, Self::starter, Self::json];
        let mut reasons = Vec::new();
        for dialect in dialects {
            match dialect(self, me)? {
                Some(Foreign::Nothing(why)) => reasons.push(why),
                Some(passed) => return Ok(passed),
                None => {}
            }
        }
        if reasons.is_empty() {
            reasons.push("the environment has no variable that passes any, like LISTEN_FDS".into());
        }
        Ok(Foreign::Nothing(reasons.join("; ")))
    }

    /// Where einhorn waits to be told that the worker `me` is ready.
    pub(crate) fn einhorn_control(&self, me: &Me) -> Result<Option<ControlSocket>, ListenError> {
        let master = self.text(einhorn::MASTER)?;
        if einhorn::foreign_master(master.as_deref(), me)?.is_some() {
            return Ok(None);
        }
        let path = (self.0)(einhorn::SOCK_PATH);
        einhorn::control_socket(self.text(einhorn::SOCK_FD)?.as_deref(), path)
    }

    fn systemd(&self, me: &Me) -> Result<Option<Foreign>, ListenError> {
        let Some(fds) = self.text(systemd::FDS)? else {
            return Ok(None);
        };
        let meant = systemd::Meant {
            pid: self.text(systemd::PID)?,
            pidfd: self.text(systemd::PIDFDID)?,
        };
        let names = self.text(systemd::NAMES)?;
        let names = names.as_deref();
        match self.text(systemfd::FIRST)? {
            None => systemd::parse(&fds, &meant, names, me),
            Some(first) => systemfd::parse(&fds, &first, &meant, names, me),
        }
        .map(Some)
    }

    fn einhorn(&self, me: &Me) -> Result<Option<Foreign>, ListenError> {
        let Some(count) = self.text(einhorn::COUNT)? else {
            return Ok(None);
        };
        let master = self.text(einhorn::MASTER)?;
        einhorn::parse(&count, master.as_deref(), |name| self.text(name), me).map(Some)
    }

    fn starter(&self, _: &Me) -> Result<Option<Foreign>, ListenError> {
        let ports = self.text(starter::PORT)?;
        ports.map(|ports| starter::parse(&ports)).transpose()
    }

    fn json(&self, _: &Me) -> Result<Option<Foreign>, ListenError> {
        let text = self
            .text(json::VARIABLE)?
            .filter(|text| json::is_meant(text));
        text.map(|text| json::parse(&text)).transpose()
    }
}

/// The environment of this process.
pub(crate) fn of_this_process() -> Variables<impl Fn(&str) -> Option<OsString>> {
    Variables(|name: &str| std::env::var_os(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Me = Me {
        pid: 7,
        parent: Some(6),
        pidfd: None,
    };

    fn variables(
        set: &'static [(&'static str, &'static str)],
    ) -> Variables<impl Fn(&str) -> Option<OsString>> {
        Variables(|name: &str| {
            set.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.into())
        })
    }

    #[test]
    fn an_empty_environment_passes_nothing() {
        assert_eq!(variables(&[]).handoff().unwrap(), None);
        assert!(matches!(
            variables(&[]).foreign(&ME).unwrap(),
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
        assert_eq!(set.foreign(&ME).unwrap(), Foreign::Passed(vec![passed]));
        let systemd = variables(&[("LISTEN_FDS", "1"), ("LISTEN_PID", "7")]);
        let passed = Passed {
            fd: 3,
            name: "unknown".into(),
        };
        assert_eq!(systemd.foreign(&ME).unwrap(), Foreign::Passed(vec![passed]));
    }

    #[test]
    fn text_that_is_not_utf8_is_malformed_and_named() {
        use std::os::unix::ffi::OsStringExt;
        let raw =
            Variables(|name: &str| (name == "LISTEN_FDS").then(|| OsString::from_vec(vec![0xff])));
        let error = raw.foreign(&ME).unwrap_err();
        assert!(error.is_malformed_env());
        assert!(error.to_string().contains("LISTEN_FDS"), "{error}");
    }

    #[test]
    fn what_is_for_another_process_does_not_hide_what_is_for_us() {
        let set = variables(&[
            ("LISTEN_FDS", "1"),
            ("LISTEN_PID", "6"),
            ("SERVER_STARTER_PORT", "80=4"),
        ]);
        let passed = Passed {
            fd: 4,
            name: "80".into(),
        };
        assert_eq!(set.foreign(&ME).unwrap(), Foreign::Passed(vec![passed]));
        let nothing = variables(&[
            ("LISTEN_FDS", "1"),
            ("LISTEN_PID", "6"),
            ("EINHORN_FD_COUNT", "1"),
            ("EINHORN_MASTER_PID", "5"),
        ]);
        let Foreign::Nothing(why) = nothing.foreign(&ME).unwrap() else {
            panic!("nothing is for us");
        };
        assert!(
            why.contains("LISTEN_PID is 6") && why.contains("EINHORN_MASTER_PID is 5"),
            "{why}"
        );
    }

    #[test]
    fn listener_is_read_only_if_it_is_json() {
        let other = variables(&[("LISTENER", "tcp")]);
        assert!(matches!(other.foreign(&ME).unwrap(), Foreign::Nothing(_)));
        let broken = variables(&[("LISTENER", "{")]);
        assert!(broken.foreign(&ME).unwrap_err().is_malformed_env());
    }

    #[test]
    fn einhorn_is_acknowledged_by_its_own_worker_only() {
        let of = |master| {
            let set = [("EINHORN_MASTER_PID", master), ("EINHORN_SOCK_PATH", "/s")];
            let of = move |name: &str| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| OsString::from(*value))
            };
            Variables(of).einhorn_control(&ME).unwrap()
        };
        assert_eq!(of("6"), Some(ControlSocket::Path("/s".into())));
        assert_eq!(of("5"), None);
    }
}
