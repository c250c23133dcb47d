#!/usr/bin/env bash
# Builds the benches. `bash ci/bench.sh run` measures everything and makes docs/benchmarks.md; a target's name after it, and
# a word of the question's, measure that alone: `bash ci/bench.sh run scope deadline`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${1:-}" != run ]; then
    # Without link-time optimisation and in many units: nobody measures here, and it halves the time.
    CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_CODEGEN_UNITS=16 cargo bench -p benches --benches --no-run
    exit
fi
if [ $# -gt 1 ]; then
    exec cargo bench -p benches --bench "$2" -- "${@:3}"
fi
# Times first, then allocations: a counter in the allocator would be in every time.
cargo bench -p benches --benches
cargo bench -p benches --benches --features count
bash ci/counts.sh all
python3 benches/page.py
