#!/usr/bin/env bash
# Formatting, of the workspace, of the fuzz target, which is a workspace of its own, and of the programs that trybuild
# compiles, which belong to no crate.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo fmt --all --check
cargo fmt --manifest-path fuzz/Cargo.toml --check
rustfmt --check ui-tests/tests/pass/*.rs ui-tests/tests/fail/*.rs
