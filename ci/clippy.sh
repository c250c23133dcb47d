#!/usr/bin/env bash
# Clippy with warnings denied: everything once, then the crate alone with each set of features that a user may choose.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo clippy --workspace --all-targets --all-features -- -D warnings

# `--lib`: code that is unused, or missing, without a feature shows in the library; the tests ask for their features
# themselves.
for features in "--no-default-features" "" \
    "--no-default-features --features tokio" "--no-default-features --features smol" \
    "--no-default-features --features testing" "--all-features"; do
    echo "moored ${features:-(default features)}"
    # shellcheck disable=SC2086 # a list of words
    cargo clippy --quiet -p moored --lib $features -- -D warnings
done

# The models exist under one cfg alone, the schedules under another; see ci/loom.sh and ci/shuttle.sh.
RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/loom \
    cargo clippy --quiet --release -p loom-tests -p moored-example-loom-on-top --all-targets -- -D warnings
RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/shuttle \
    cargo clippy --quiet --release -p shuttle-tests --all-targets -- -D warnings
