//! A deployment: the program changes while it runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::scratch;
use super::server::BINARY;

/// The binary under a path where something else can take its place, as a deployment does.
pub(crate) struct Deployed {
    pub(crate) folder: PathBuf,
    pub(crate) path: PathBuf,
}

impl Deployed {
    pub(crate) fn new() -> Self {
        let folder = scratch();
        let deployed = Self {
            path: folder.join("server"),
            folder,
        };
        deployed.put(Path::new(BINARY));
        deployed
    }

    pub(crate) fn put(&self, program: &Path) {
        let next = self.folder.join("next");
        // Written by another process: a child that a parallel test forks would hold a descriptor of this one for
        // writing until its exec, and meanwhile the program cannot be executed (ETXTBSY).
        let copied = Command::new("cp").arg(program).arg(&next).status();
        assert!(copied.unwrap().success());
        fs::rename(next, &self.path).unwrap();
    }

    pub(crate) fn put_script(&self, script: &str) {
        let next = self.folder.join("script");
        fs::write(&next, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&next, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(next, &self.path).unwrap();
    }
}

impl Drop for Deployed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
