//! The file that says which process serves. It is replaced in one step, so that whoever reads it finds a number.

use std::path::{Path, PathBuf};
use std::{fs, io, process};

/// Does nothing where no file was asked for.
#[derive(Clone, Debug)]
pub(crate) struct PidFile(Option<PathBuf>);

impl PidFile {
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self(path)
    }

    /// Says that this process serves. Without the file it serves all the same.
    pub(crate) fn write_or_warn(&self) {
        if let Err(error) = self.write() {
            let path = self.0.as_deref().map(Path::display);
            tracing::error!(%error, path = path.map(tracing::field::display), "the pid file was not written");
        }
    }

    fn write(&self) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        let pid = process::id();
        // In the same folder, for a rename does not cross file systems, and under a name that no other process uses.
        let mut temporary = path.clone().into_os_string();
        temporary.push(format!(".{pid}"));
        fs::write(&temporary, format!("{pid}\n"))?;
        fs::rename(&temporary, path)
    }

    /// Removes it at the end, unless it is the successor's by now.
    pub(crate) fn remove_if_mine(&self) {
        if let Some(path) = self.0.as_deref().filter(|path| is_mine(path)) {
            // Somebody else may have been faster.
            let _ = fs::remove_file(path);
        }
    }
}

fn is_mine(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.trim() == process::id().to_string())
}
