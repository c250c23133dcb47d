#!/usr/bin/env bash
# Builds the benches; `bash ci/bench.sh run` measures, with link-time optimisation, side by side in one run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${1:-}" = run ]; then
    # Only the ratios within one run mean anything: the machine's noise is in all of them.
    exec cargo bench -p benches -- "${@:2}"
fi
# Without link-time optimisation and in many units: nobody measures here, and it halves the time.
CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_CODEGEN_UNITS=16 cargo bench -p benches --no-run
