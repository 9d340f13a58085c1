//! A watched file, on a real file system in paused time.
#![allow(clippy::unwrap_used, reason = "the helpers below are test code too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use graceful_signal::{Cause, ShutdownSignal};
use tokio::time::timeout;

/// Only reached by a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder of its own for each test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("graceful-{}-{test}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn fires_for(signal: &ShutdownSignal, path: &Path) {
    timeout(PATIENCE, signal.clone()).await.unwrap();
    assert_eq!(signal.cause(), Some(Cause::File(path.to_owned())));
    assert_eq!(signal.level(), 1);
}

/// Long enough for it to have looked several times.
async fn looks_and_stays_quiet(signal: &ShutdownSignal) {
    timeout(3 * ShutdownSignal::POLL_PERIOD, signal.clone())
        .await
        .unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn it_fires_when_the_file_appears() {
    let folder = Folder::new("appears");
    let path = folder.join("stop");
    let signal = ShutdownSignal::file(&path).unwrap();
    looks_and_stays_quiet(&signal).await;
    fs::write(&path, "").unwrap();
    fires_for(&signal, &path).await;
}

#[tokio::test(start_paused = true)]
async fn it_fires_when_the_file_goes_and_not_when_it_is_written() {
    let folder = Folder::new("goes");
    let path = folder.join("run");
    fs::write(&path, "").unwrap();
    let signal = ShutdownSignal::file(&path).unwrap();
    fs::write(&path, "another content").unwrap();
    looks_and_stays_quiet(&signal).await;
    fs::remove_file(&path).unwrap();
    fires_for(&signal, &path).await;
}

#[tokio::test(start_paused = true)]
async fn it_fires_when_another_file_takes_the_name() {
    let folder = Folder::new("replaced");
    let (path, next) = (folder.join("run"), folder.join("next"));
    fs::write(&path, "").unwrap();
    let signal = ShutdownSignal::file(&path).unwrap();
    fs::write(&next, "").unwrap();
    fs::rename(&next, &path).unwrap();
    fires_for(&signal, &path).await;
}

/// File systems like to give the same inode number again.
#[tokio::test(start_paused = true)]
async fn it_fires_when_the_file_is_made_anew_between_two_looks() {
    let folder = Folder::new("anew");
    let path = folder.join("run");
    fs::write(&path, "").unwrap();
    if fs::metadata(&path).unwrap().created().is_err() {
        return; // Here it could only be told by its inode number, which may be the same.
    }
    // The clock of birth times goes in steps of some milliseconds.
    std::thread::sleep(Duration::from_millis(50));
    let signal = ShutdownSignal::file(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    fires_for(&signal, &path).await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_folder_is_not_there_yet() {
    let folder = Folder::new("folder");
    let path = folder.join("later/stop");
    let signal = ShutdownSignal::file(&path).unwrap();
    looks_and_stays_quiet(&signal).await;
    fs::create_dir(folder.join("later")).unwrap();
    looks_and_stays_quiet(&signal).await;
    fs::write(&path, "").unwrap();
    fires_for(&signal, &path).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_in_place_of_the_folder_is_not_there_yet() {
    let folder = Folder::new("in-place");
    fs::write(folder.join("later"), "").unwrap();
    let signal = ShutdownSignal::file(folder.join("later/stop")).unwrap();
    looks_and_stays_quiet(&signal).await;
}

#[tokio::test(start_paused = true)]
#[cfg(unix)]
async fn a_symbolic_link_that_turns_fires() {
    let folder = Folder::new("link");
    let [old, new, path, turned] = ["old", "new", "data", "turned"].map(|name| folder.join(name));
    fs::write(&old, "").unwrap();
    fs::write(&new, "").unwrap();
    std::os::unix::fs::symlink(&old, &path).unwrap();
    let signal = ShutdownSignal::file(&path).unwrap();
    std::os::unix::fs::symlink(&new, &turned).unwrap();
    fs::rename(&turned, &path).unwrap();
    fires_for(&signal, &path).await;
}

#[tokio::test(start_paused = true)]
async fn a_path_that_cannot_be_looked_at_is_an_error_that_names_it() {
    let long = "x".repeat(5_000);
    let error = ShutdownSignal::file(&long).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot watch {long}"));
    assert!(ShutdownSignal::file("").is_err());
}
