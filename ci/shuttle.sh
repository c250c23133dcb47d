#!/usr/bin/env bash
# Whole groups with exits on many threads: thousands of random schedules and as many of PCT. A failure prints its seed and
# its schedule; SHUTTLE_REPLAY=schedule bash ci/shuttle.sh NAME_OF_TEST runs that one again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# As in ci/loom.sh: the flag reaches every crate of the graph, so a member and a target directory of their own.
export RUSTFLAGS="--cfg shuttle"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/shuttle
cargo test --release -p shuttle-tests --test schedules "$@"
