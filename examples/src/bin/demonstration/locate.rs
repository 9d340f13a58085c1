//! Finds the server's executable, and builds it where that can be done.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;

/// The reference server beside this executable.
///
/// Under `cargo run` it is always built, because cargo has only seen to this binary and the other
/// one may be older than its source; where it is up to date that takes a moment. Elsewhere it is
/// built when it is missing.
pub(crate) fn reference_server() -> Result<PathBuf, Failure> {
    let this = env::current_exe().map_err(Failure::of("cannot find this executable"))?;
    let server = this.with_file_name(format!("{SERVER}{}", env::consts::EXE_SUFFIX));
    if server.exists() && env::var_os("CARGO").is_none() {
        return Ok(server);
    }
    if !server.exists() {
        let notice =
            "The reference server is not built yet: cargo does that now, which takes a while.";
        let _ = writeln!(io::stderr(), "{notice}");
    }
    build(&this)?;
    if server.exists() {
        return Ok(server);
    }
    Err(Failure::new(format!(
        "cargo built no {}; name a server with --server",
        server.display()
    )))
}

/// Builds into the directory this executable is in, with its profile.
fn build(this: &Path) -> Result<(), Failure> {
    let directory = this.parent().unwrap_or(this);
    let profile = directory
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("release");
    let profile = if profile == "debug" { "dev" } else { profile };
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--package",
        "graceful-examples",
        "--bin",
        SERVER,
        "--profile",
        profile,
    ]);
    cargo
        .args(["--manifest-path", MANIFEST, "--target-dir"])
        .arg(directory.with_file_name(""));
    let status = cargo.status().map_err(Failure::of(
        "cannot run cargo to build the reference server",
    ))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "cargo could not build the reference server ({status})"
    )))
}

const SERVER: &str = "reference-server";
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
