#!/usr/bin/env bash
# The models: every interleaving of two or three threads, up to a number of preemptions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# `--cfg loom` reaches every crate of the graph, so the member depends on the core crate and loom alone, and a target
# directory of its own keeps the other steps' crates from being built again.
export RUSTFLAGS="--cfg loom"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/loom
# Two find every seeded fault and take seconds; ci/deep.sh uses three. Release, because loom runs each model thousands of
# times. A model that deadlocks aborts its process instead of failing.
export LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS:-2}
models() { cargo test --release --config "target.'cfg(all())'.runner='$PWD/ci/each-alone.sh'" "$@"; }
models -p loom-tests --test models "$@"
# A library on top: its author can check it in the same way. A name given to this script is one of the
# models above.
[ $# -gt 0 ] || models -p moored-example-loom-on-top --test race
