#!/usr/bin/env bash
# The fuzz targets compile, on the stable toolchain, and each has seeds. Their logic is the model of tests/model and
# mcp/src/fuzzing.rs, whose tests replay the seeds in every build; ci/deep.sh fuzzes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The main workspace's target directory, so that the crate's dependencies are not checked twice.
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target} \
    cargo clippy --manifest-path fuzz/Cargo.toml --all-targets -- -D warnings

# The target `ops` has its seeds beside the model that replays them.
for target in fuzz/fuzz_targets/*.rs; do
    name=$(basename "$target" .rs)
    [ "$name" != ops ] || continue
    [ -n "$(ls "fuzz/seeds/$name" 2>/dev/null)" ] || { echo "$target: no seeds in fuzz/seeds/$name"; exit 1; }
    grep -q "seeds(\"$name\"" mcp/src/fuzzing.rs || { echo "$target: no test in mcp/src/fuzzing.rs replays its seeds"; exit 1; }
done
