//! The two programs.

use crate::support::bounded;
use std::process::Command;

fn tells_its_story(program: &'static str) {
    bounded(move || {
        let output = Command::new(program).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{told}");
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines.len(), 4, "{told}");
        assert_eq!(lines[0], "two clients: 30 moved, 70 left on the first account");
        assert!(lines[1].starts_with("cancelled: deadline passed"), "{told}");
        assert!(lines[1].ends_with(": rolled back, 70 left"), "{told}");
        assert_eq!(lines[2], "only 70 on the account: rolled back, 70 left");
        assert_eq!(lines[3], "1 of 1 connections in the pool");
    });
}

#[test]
fn the_program_under_tokio_tells_its_story() {
    tells_its_story(env!("CARGO_BIN_EXE_tokio"));
}

#[test]
fn the_program_under_smol_tells_its_story() {
    tells_its_story(env!("CARGO_BIN_EXE_smol"));
}
