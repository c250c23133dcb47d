#!/usr/bin/env bash
# The fuzz target compiles, on the stable toolchain. Its logic is the model of tests/model, which the property test runs
# in every build; ci/deep.sh fuzzes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The main workspace's target directory, so that the crate's dependencies are not checked twice.
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target} \
    cargo clippy --manifest-path fuzz/Cargo.toml --all-targets -- -D warnings
