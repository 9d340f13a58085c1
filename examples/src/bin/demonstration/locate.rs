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
    build(&mut build_command(&this))?;
    if server.exists() {
        return Ok(server);
    }
    Err(Failure::new(format!(
        "cargo built no {}; name a server with --server",
        server.display()
    )))
}

/// Builds into the directory this executable is in, with its profile.
fn build_command(this: &Path) -> Command {
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
    // `cargo run` describes this package to us in variables. Cargo runs a build script again when a variable changes that the
    // script has read: with these variables it would compile ring, and all crates above it, a second time.
    for (name, _) in env::vars_os() {
        let describes_this_package = ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
        if describes_this_package {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn build(cargo: &mut Command) -> Result<(), Failure> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `cargo test` sets the same variables as `cargo run`.
    #[test]
    fn the_build_inherits_no_variable_that_describes_this_package() {
        let cargo = build_command(Path::new("target/release/demonstration"));
        for name in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"] {
            assert!(env::var_os(name).is_some(), "cargo sets {name}");
            let removed = cargo
                .get_envs()
                .any(|(key, value)| key == name && value.is_none());
            assert!(removed, "{name}");
        }
    }
}
