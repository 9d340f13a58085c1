//! Our own variable, `GRACEFUL_HANDOFF=1;fd=N;ino=INODE`: which descriptor is the channel to the
//! predecessor. The inode tells the channel from whatever has its number in a grandchild that
//! inherited the text only. A supervisor adds `;worker=GENERATION`: it stays, and what it starts
//! is its worker of that generation.

use std::os::fd::RawFd;

use super::foreign::malformed;
use crate::error::ListenError;

pub(super) const VARIABLE: &str = "GRACEFUL_HANDOFF";

/// The channel as the variable names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChannelFd {
    pub(crate) fd: RawFd,
    pub(crate) ino: u64,
    /// The generation, if whoever started us is a supervisor.
    pub(crate) worker: Option<u32>,
}

impl ChannelFd {
    /// The variable and its value for a child.
    pub(crate) fn variable(self) -> (&'static str, String) {
        let worker = self
            .worker
            .map(|generation| format!(";worker={generation}"));
        let worker = worker.unwrap_or_default();
        (
            VARIABLE,
            format!("1;fd={};ino={}{worker}", self.fd, self.ino),
        )
    }
}

/// Reads the value. Keys that a later release may add are skipped; another leading number means
/// that the rest does not mean what we would take it for.
pub(super) fn parse(text: &str) -> Result<ChannelFd, ListenError> {
    let bad = |why: &str| malformed(VARIABLE, text, why);
    let mut fields = text.split(';');
    if fields.next() != Some("1") {
        return Err(bad("it does not begin with the form number 1"));
    }
    let (mut fd, mut ino, mut worker) = (None, None, None);
    for field in fields {
        match field.split_once('=') {
            Some(("fd", value)) => fd = value.parse().ok().filter(|fd| *fd >= 3),
            Some(("ino", value)) => ino = value.parse().ok(),
            Some(("worker", value)) => {
                let generation = value.parse().ok();
                worker = Some(generation.ok_or_else(|| bad("`worker` is no number"))?);
            }
            Some(_) => {}
            None => return Err(bad("a field is not of the form key=value")),
        }
    }
    match (fd, ino) {
        (Some(fd), Some(ino)) => Ok(ChannelFd { fd, ino, worker }),
        (None, _) => Err(bad("`fd` is missing or is no descriptor number from 3 up")),
        (_, None) => Err(bad("`ino` is missing or is no number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (worker, text) in [
            (None, "1;fd=7;ino=4711"),
            (Some(0), "1;fd=7;ino=4711;worker=0"),
        ] {
            let (fd, ino) = (7, 4711);
            let channel = ChannelFd { fd, ino, worker };
            assert_eq!(channel.variable(), ("GRACEFUL_HANDOFF", text.to_owned()));
            assert_eq!(parse(text).unwrap(), channel);
        }
    }

    #[test]
    fn keys_of_a_later_release_are_skipped() {
        assert_eq!(
            parse("1;ino=1;x=y;fd=3").unwrap(),
            ChannelFd {
                fd: 3,
                ino: 1,
                worker: None
            }
        );
    }

    #[test]
    fn everything_else_is_malformed() {
        let bad = [
            "",
            "x",
            "-1",
            "99999999999",
            "1",
            "2;fd=3;ino=1",
            "1;fd=3",
            "1;ino=1",
            "1;fd=x;ino=1",
            "1;fd=-1;ino=1",
            "1;fd=2;ino=1",
            "1;fd=99999999999;ino=1",
            "1;fd=3;ino=-1",
            "1;fd=3;ino=",
            "1;fd=3;ino=1;worker=",
            "1;fd=3;ino=1;worker=-1",
            "1;;fd=3;ino=1",
            "1;fd=3;ino=1;",
            " 1;fd=3;ino=1",
        ];
        for text in bad {
            let error = parse(text).expect_err(text);
            assert!(error.is_malformed_env(), "{text:?}");
            assert!(error.to_string().contains("GRACEFUL_HANDOFF"), "{error}");
        }
    }
}
