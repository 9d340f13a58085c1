//! The program of the successor, and the state and descriptors for it.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::state::Source;
use crate::carried::Carried;

/// The successor as the caller describes it. A field that is not set is as this process was started.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) program: Option<PathBuf>,
    pub(super) args: Option<Vec<OsString>>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) ready_timeout: Duration,
    /// Descriptors that are sent with the listeners.
    pub(super) carried: Vec<Carried>,
    pub(super) states: Vec<Source>,
    pub(super) check: Option<Vec<OsString>>,
    pub(super) vetoes: Vec<Veto>,
    /// Its generation, if this process stays as its supervisor.
    pub(super) worker: Option<u32>,
    /// The channel to the worker that serves until it does, under the name that it knows.
    pub(super) relieves: Option<Carried>,
}

impl Default for Plan {
    fn default() -> Self {
        let ready_timeout = Duration::from_secs(60);
        Self {
            program: None,
            args: None,
            env: Vec::new(),
            ready_timeout,
            carried: Vec::new(),
            states: Vec::new(),
            check: None,
            vetoes: Vec::new(),
            worker: None,
            relieves: None,
        }
    }
}

/// A reason of the application's against a successor.
#[derive(Clone)]
pub(super) struct Veto(pub(super) Arc<dyn Fn() -> Result<(), String> + Send + Sync>);

impl fmt::Debug for Veto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Veto")
    }
}
