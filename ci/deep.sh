#!/usr/bin/env bash
# Steps that take too long, or need tools too rare, for every run: `bash ci/deep.sh`, or `bash
# ci/deep.sh STEP..`.
#
# A step whose tool is missing is skipped, with the command that installs the tool. Miri is not here: it was never run
# on the crate.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
self=$PWD/ci/deep.sh

target=${CARGO_TARGET_DIR:-$PWD/target}
host=x86_64-unknown-linux-gnu
fuzz_seconds=${FUZZ_SECONDS:-60}

steps=(msrv minimal package docsrs loom shuttle seeded proof hack deny machete console valgrind asan tsan fuzz coverage mutants)
[ $# -eq 0 ] || steps=("$@")

# need COMMAND.. -- how to install it
need() {
    local command=()
    while [ "$1" != -- ]; do
        command+=("$1")
        shift
    done
    shift
    if ! "${command[@]}" >/dev/null 2>&1; then
        echo "skipped: no \`${command[*]}\` here; $*"
        return 1
    fi
}

# The oldest compiler that Cargo.toml names. Debian has it as rustc-web, beside a newer default, so the version has to be
# asked for; a toolchain of rustup's will do as well.
step_msrv() {
    local rustc
    if rustup run 1.85.0 rustc --version >/dev/null 2>&1; then
        rustc=$(rustup which --toolchain 1.85.0 rustc)
    elif ${MSRV_RUSTC:-/usr/bin/rustc} --version 2>/dev/null | grep -q ' 1\.85\.'; then
        rustc=${MSRV_RUSTC:-/usr/bin/rustc}
    else
        echo "skipped: no Rust 1.85 here; rustup toolchain install 1.85.0, or"
        echo "  apt-get install rustc-web=1.85.0* libstd-rust-web-dev=1.85.0*, or MSRV_RUSTC=path"
        return
    fi
    "$rustc" --version
    # The newer cargo drives the older compiler. A directory of its own, as one compiler's files are of no use to another.
    # The library with its features: the tests' dependencies may ask for more.
    for features in "" --no-default-features --all-features; do
        # shellcheck disable=SC2086 # a list of words
        RUSTC=$rustc CARGO_TARGET_DIR=$target/msrv cargo check -p moored --lib $features
    done
}

# The oldest releases of the direct dependencies that the manifests admit.
step_minimal() {
    need rustc +nightly --version -- rustup toolchain install nightly || return 0
    local folder
    folder=$(mktemp -d)
    bash ci/package.sh unpack "$folder"
    for crate in moored moored-mcp; do
        cd "$folder/$crate"
        cargo +nightly update --quiet -Z direct-minimal-versions
        CARGO_TARGET_DIR=$target/minimal cargo check --quiet --lib --all-features
    done
    rm -rf "$folder"
}

# The documentation as docs.rs builds it. It shows the features that an item needs.
step_docsrs() {
    need rustc +nightly --version -- rustup toolchain install nightly || return 0
    RUSTDOCFLAGS="--cfg docsrs -Dwarnings" CARGO_TARGET_DIR=$target/docsrs \
        cargo +nightly doc --quiet -p moored -p moored-mcp --all-features --no-deps
    local page
    for page in moored/inspect:inspect moored_mcp/config:config; do
        grep -q "Available on <strong>crate feature <code>${page#*:}</code>" "$target/docsrs/doc/${page%:*}/index.html" ||
            { echo "the docs of ${page%:*} do not show its feature"; return 1; }
    done
}

# The packages, unpacked and built in an empty folder; and an empty project to which moored is added.
step_package() {
    bash ci/package.sh verify
}

# One preemption more than in every run. Five models of six come to their end within this many seconds, the others explore
# as far as they get: LOOM_MAX_DURATION is for each.
step_loom() {
    LOOM_MAX_PREEMPTIONS=3 LOOM_MAX_DURATION=${LOOM_MAX_DURATION:-20} bash ci/loom.sh
}

# Ten times the schedules of every run.
step_shuttle() {
    SHUTTLE_ITERATIONS=20000 bash ci/shuttle.sh
}

# The bugs of ci/mutants/*.toml, one at a time: most of an hour.
step_seeded() {
    bash ci/mutants.sh
}

# How much each means explores, anew, and docs/proof.md from it.
step_proof() {
    python3 ci/proof.py --explore
}

step_hack() {
    need cargo hack --version -- cargo install --locked cargo-hack || return 0
    # Code that no set of features but a large one uses is a warning. A directory of its own, because the flag rebuilds all.
    export RUSTFLAGS=-Dwarnings CARGO_TARGET_DIR=$target/hack
    cargo hack check --quiet -p moored --lib --feature-powerset
    # The features in pairs: all sets would take most of an hour, and no code asks for more than two.
    cargo hack check --quiet -p moored-mcp --lib --feature-powerset --depth 2 --exclude-features default,fuzzing
}

# Advisories are left out: they need a site that CI may not reach.
step_deny() {
    need cargo deny --version -- cargo install --locked cargo-deny || return 0
    cargo deny check bans licenses sources
}

step_machete() {
    need cargo machete --version -- cargo install --locked cargo-machete || return 0
    cargo machete
}

# The behaviour, without the runtimes, because valgrind serialises their threads for minutes. Only memory that is lost
# for good is an error, because a runtime keeps memory until the process ends.
step_valgrind() {
    need valgrind --version -- apt-get install valgrind || return 0
    local binary
    binary=$(cargo test -p moored --all-features --test model --no-run --message-format=json |
        python3 -c 'import json, sys
for line in sys.stdin:
    line = json.loads(line)
    if line.get("executable") and line["target"]["name"] == "model": print(line["executable"])')
    PROPTEST_CASES=200 valgrind --quiet --error-exitcode=9 --leak-check=full \
        --show-leak-kinds=definite --errors-for-leak-kinds=definite "$binary" --test-threads=1
}

# The names and places of children in tokio-console. tokio has the spans that the console reads with this flag only.
step_console() {
    RUSTFLAGS="--cfg tokio_unstable" CARGO_TARGET_DIR=$target/console \
        cargo test -p moored --features tokio,tracing --test console
}

step_asan() {
    need rustc +nightly --version -- rustup toolchain install nightly || return 0
    # Leaks are found by the same run, at each process's end.
    export LSAN_OPTIONS="suppressions=$PWD/ci/lsan.supp" RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=$target/asan
    cargo +nightly test --target "$host" -p moored --all-features --tests
    cargo +nightly test --target "$host" -p moored-mcp --tests
}

step_tsan() {
    need rustc +nightly --version -- rustup toolchain install nightly || return 0
    need test -d "$(rustc +nightly --print sysroot)/lib/rustlib/src/rust" -- \
        rustup component add rust-src --toolchain nightly || return 0
    # std is built with the sanitizer as well: it would not see the locks of a prebuilt one, and would report every value that
    # they guard.
    CARGO_TARGET_DIR=$target/tsan RUSTFLAGS=-Zsanitizer=thread \
        cargo +nightly test -Zbuild-std --target "$host" -p moored --features testing,tokio,tokio/parking_lot --test it
}

step_fuzz() {
    need rustc +nightly --version -- rustup toolchain install nightly || return 0
    need cargo fuzz --version -- cargo install --locked cargo-fuzz || return 0
    export CARGO_TARGET_DIR=$target/fuzz
    local name
    mkdir -p "$target"
    for name in $(cargo +nightly fuzz list); do
        mkdir -p "fuzz/corpus/$name"
        # New finds go into fuzz/corpus, which is not kept. A find that is worth keeping moves to the seeds, which a test
        # replays.
        if [ "$name" = ops ]; then
            # A seed is at most 361 bytes long: one, and 120 operations of three.
            cargo +nightly fuzz run ops fuzz/corpus/ops tests/model/corpus -- \
                -max_total_time="$fuzz_seconds" -max_len=361 2>&1 | tee "$target/fuzz.log"
        else
            cargo +nightly fuzz run "$name" "fuzz/corpus/$name" "fuzz/seeds/$name" -- \
                -max_total_time="$fuzz_seconds" -max_len=4096 -timeout=10
        fi
    done
    # A shorter run than the one on record stays out of the record.
    [ "$fuzz_seconds" -lt 3600 ] || python3 ci/proof.py --fuzzed "$target/fuzz.log"
}

step_coverage() {
    need cargo llvm-cov --version -- cargo install --locked cargo-llvm-cov || return 0
    # Debian's llvm-22 reads the profiles; llvm-14 does not.
    if command -v llvm-cov-22 >/dev/null; then
        export LLVM_COV=llvm-cov-22 LLVM_PROFDATA=llvm-profdata-22
    fi
    # Both sets of features of ci/test.sh: each runs lines that the other does not.
    cargo llvm-cov clean --workspace
    cargo llvm-cov --no-report -p moored --all-features --tests
    cargo llvm-cov --no-report -p moored --features testing,tokio,smol --test it --test panic --test no_hook --test model
    cargo llvm-cov report --lcov --output-path "$target/coverage.lcov"
    python3 ci/coverage.py "$target/coverage.lcov"
    python3 ci/proof.py
}

# In shards, because the whole takes hours: MUTANTS_SHARD=0/16. A mutant that is equivalent is listed, with the reason, in
# .cargo/mutants.toml.
step_mutants() {
    need cargo mutants --version -- cargo install --locked cargo-mutants || return 0
    cargo mutants -p moored --all-features --shard "${MUTANTS_SHARD:-0/16}" --output "$target"
}

if [ "${1:-}" = --one ]; then
    "step_$2"
    exit
fi
failed=()
for step in "${steps[@]}"; do
    echo "=== $step"
    started=$SECONDS
    # Each in a shell of its own: one failure neither hides the others nor goes on past itself.
    bash "$self" --one "$step" || failed+=("$step")
    echo "=== $step took $((SECONDS - started)) s"
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
