#!/usr/bin/env bash
# Builds the benches and asks each question in a few rounds: a smoke test. `bash ci/bench.sh run` measures everything but the
# footnote and the MCP sessions, and makes docs/benchmarks.md; it wants a machine that does nothing else, for ten minutes.
# With the name of a target and a word of a question it measures that alone: `bash ci/bench.sh run scope deadline`.
# `bash ci/bench.sh further` measures a further call in a user's program, and `bash ci/bench.sh python` the footnote. The
# page uses all rows that it finds: those of other runs stay until they are measured again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${CARGO_TARGET_DIR:-target}
regions=$target/release/regions

# Without link-time optimisation and in many units, for what is not timed: it takes half the time.
build_fast() {
    CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_CODEGEN_UNITS=16 cargo build --profile bench -p benches "$@"
}

case ${1:-build} in
build)
    build_fast --bins
    "$regions" --quick >/dev/null
    ;;
run)
    if [ $# -gt 1 ]; then
        cargo build --profile bench -p benches --bin regions
        exec "$regions" "${@:2}"
    fi
    # A counter in the allocator would be in every time, so allocations are counted by a build of their own.
    build_fast --bin regions --features count
    cp "$regions" "$regions-count"
    cargo build --profile bench -p benches --bins
    # Each target in a process of its own, so that none finds what another one left behind.
    for name in $("$regions" list); do
        "$regions" "$name"
        "$regions-count" "$name"
    done
    bash ci/counts.sh all
    # Its exit status is that of a gate; the page shows its figures either way.
    bash ci/counts.sh growth || true
    python3 benches/further.py
    python3 benches/page.py
    ;;
further)
    python3 benches/further.py "${@:2}"
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
    echo "bash ci/bench.sh [run [TARGET [WORD]] | further | python]"
    exit 2
    ;;
esac
