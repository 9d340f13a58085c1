//! What `docs/cases.md` says of each server is what a client sees.

#![allow(clippy::unwrap_used, reason = "what a test did not get is its failure")]

use std::process::Command;

#[test]
fn the_table_of_cases_is_what_clients_see() {
    let cases = Command::new(env!("CARGO_BIN_EXE_cases")).output().unwrap();
    let seen = String::from_utf8(cases.stdout).unwrap();
    let page = include_str!("../../docs/cases.md");
    // The header and its rule have another column, too.
    let rows: Vec<_> = seen.lines().skip(2).collect();
    assert!(rows.len() >= 20, "{seen}");
    for row in rows {
        let said = page.lines().any(|line| line.starts_with(row));
        assert!(
            said,
            "docs/cases.md does not say:\n{row}\nAll of them:\n{seen}"
        );
    }
    assert!(cases.status.success(), "not as promised:\n{seen}");
}
