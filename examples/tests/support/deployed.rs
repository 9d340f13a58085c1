//! A deployment: the program changes while it runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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
        fs::copy(program, &next).unwrap();
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
