#!/usr/bin/env bash
# Builds the benches. `bash ci/bench.sh run` measures everything and makes docs/benchmarks.md. With the name of a target
# and a word of a question it measures that alone: `bash ci/bench.sh run scope deadline`. `bash ci/bench.sh python`
# measures the footnote. The page uses all rows that it finds: those of other runs stay until they are measured again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${CARGO_TARGET_DIR:-target}

case ${1:-build} in
build)
    # Without link-time optimisation and in many units: this build is not measured, and it takes half
    # the time.
    CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_CODEGEN_UNITS=16 cargo bench -p benches --benches --no-run
    ;;
run)
    if [ $# -gt 1 ]; then
        exec cargo bench -p benches --bench "$2" -- "${@:3}"
    fi
    # Times first, then allocations: a counter in the allocator would be in every time.
    cargo bench -p benches --benches
    cargo bench -p benches --benches --features count
    bash ci/counts.sh all
    python3 benches/page.py
    ;;
python)
    if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
        echo "skipped: this python3 makes no virtual environments"
        exit
    fi
    python3 -m venv "$target/bench-python"
    if ! "$target/bench-python/bin/pip" install --quiet anyio trio; then
        echo "skipped: AnyIO and Trio could not be installed"
        exit
    fi
    "$target/bench-python/bin/python" benches/python/footnote.py "${BENCH_RESULTS:-$target/bench}"
    ;;
*)
    echo "bash ci/bench.sh [run [TARGET [WORD]] | python]"
    exit 2
    ;;
esac
