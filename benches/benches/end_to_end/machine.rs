//! What it was measured on.

use std::{fs, process::Command};

/// One line: cores, kernel, versions. No name of a machine.
pub(super) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = vec![
        format!("{cores} cores ({})", model()),
        format!("Linux {}", kernel.trim()),
        first_line("rustc", "--version"),
    ];
    parts.extend(["hyper", "hyper-util", "tokio", "h2", "axum", "axum-server"].map(locked));
    parts.extend([first_line("wrk", "-v"), first_line("h2load", "--version")]);
    parts.extend([first_line("go", "version")]);
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

fn model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    model.map_or_else(String::new, |model| {
        model.trim_start_matches([':', '\t', ' ']).to_owned()
    })
}

/// wrk says its version and then fails, so that nothing is made of a failure.
fn first_line(program: &str, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // wrk adds how it was built, and by whom.
    let line = text.lines().next().unwrap_or_default();
    line.split(" [")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// A dependency's version, from the lock file.
fn locked(package: &str) -> String {
    let lock = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));
    let name = format!("name = \"{package}\"\nversion = \"");
    let version = lock
        .split(&name)
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    version.map_or_else(String::new, |version| format!("{package} {version}"))
}
