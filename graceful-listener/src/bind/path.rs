//! Who may remove the path of a Unix listener: the process it belongs to, if it still is the same
//! file. A path removed under a living listener makes it unreachable for ever.

use std::path::PathBuf;

use rustix::fs::{FileType, lstat, unlink};

/// Which file a path was at the time it was bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
}

/// The path of a Unix listener of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BoundPath {
    /// Absolute, so that a change of the working directory does not point it elsewhere.
    path: PathBuf,
    identity: Identity,
}

impl BoundPath {
    pub(crate) fn new(path: PathBuf, identity: Identity) -> Self {
        Self { path, identity }
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Removes the path unless something else stands there by now.
    pub(crate) fn unlink(&self) {
        if Identity::of_socket(&self.path) == Some(self.identity) {
            // It is gone or it is not ours to remove: either way nothing is left to do.
            let _ = unlink(&self.path);
        }
    }
}

impl Identity {
    /// The identity of the socket at `path`; nothing if there is none.
    pub(crate) fn of_socket(path: &std::path::Path) -> Option<Self> {
        let stat = lstat(path).ok()?;
        let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
        #[allow(
            clippy::unnecessary_cast,
            reason = "the width of dev_t differs between systems"
        )]
        is_socket.then_some(Self {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
        })
    }
}
