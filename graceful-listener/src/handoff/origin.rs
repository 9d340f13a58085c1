//! How this process was started, as the model for its successor: looked at once, at the first use
//! of the crate, because the working directory and PATH may change later.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The program as an absolute path *by name*: /proc/self/exe would name the file that runs, which
/// after a deployment by rename is the old one. Where `argv[0]` is a name that leads nowhere, it
/// is the path that the running file had at this moment.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(super) program: Option<PathBuf>,
    pub(super) arg0: OsString,
    pub(super) args: Vec<OsString>,
}

impl Origin {
    /// What was recorded; records it at the first call.
    pub(crate) fn recorded() -> &'static Self {
        static ORIGIN: OnceLock<Origin> = OnceLock::new();
        ORIGIN.get_or_init(|| {
            let mut args = env::args_os();
            let arg0 = args.next().unwrap_or_default();
            let path = env::var_os("PATH").unwrap_or_default();
            let program = locate(Path::new(&arg0), &path).or_else(|| env::current_exe().ok());
            Self {
                program,
                arg0,
                args: args.collect(),
            }
        })
    }
}

/// A name with a slash is a path; one without is looked up, as the shell that started us did.
fn locate(arg0: &Path, path: &OsString) -> Option<PathBuf> {
    let is_path = arg0.parent().is_some_and(|parent| parent != Path::new(""));
    if is_path {
        return std::path::absolute(arg0).ok();
    }
    env::split_paths(path)
        .map(|folder| folder.join(arg0))
        .filter(|candidate| candidate.is_file())
        .find_map(|candidate| std::path::absolute(candidate).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_made_absolute_and_a_name_is_looked_up() {
        let path = &OsString::from("/nowhere:/bin");
        let here = env::current_dir().unwrap();
        assert_eq!(locate(Path::new("/opt/app"), path), Some("/opt/app".into()));
        assert_eq!(
            locate(Path::new("bin/app"), path),
            Some(here.join("bin/app"))
        );
        assert_eq!(locate(Path::new("./app"), path), Some(here.join("app")));
        assert_eq!(locate(Path::new("sh"), path), Some("/bin/sh".into()));
        assert_eq!(locate(Path::new("no-such-program"), path), None);
        assert_eq!(locate(Path::new(""), path), None);
    }

    #[test]
    fn a_symbolic_link_stays_one_so_that_a_switched_release_is_followed() {
        let folder = env::temp_dir().join(format!("graceful-origin-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let link = folder.join("current");
        std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
        assert_eq!(locate(&link, &OsString::new()), Some(link.clone()));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
