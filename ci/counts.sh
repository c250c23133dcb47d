#!/usr/bin/env bash
# Instructions and allocations of the hot paths, against the pins of benches/counts.tsv. `bash ci/counts.sh pin` makes new
# pins, `bash ci/counts.sh all` counts the peers too. `bash ci/counts.sh inspect` prints what the feature `inspect` costs
# where it is on, and what large snapshots cost. `bash ci/counts.sh growth` fits the growth of whole operations from 100 to
# 100,000 items, and fails where one is more than linear; with a word, of the operations that have it in their names.
# `bash ci/counts.sh locked` counts locked instructions, on which the time depends most; with a word as `growth`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The profile that is measured: with link-time optimisation, in one unit. Without it calls between crates would count.
binaries=${CARGO_TARGET_DIR:-target}/release
other=count
case ${1:-} in inspect | growth) other=inspect ;; esac
if [ "${1:-}" = locked ]; then
    cargo build --profile bench -p benches --bin counts
    exec python3 benches/locked.py "$binaries/counts" "${@:2}"
fi
cargo build --profile bench -p benches --bin counts --features "$other"
cp "$binaries/counts" "$binaries/counts-$other"
cargo build --profile bench -p benches --bin counts
python3 benches/counts.py "${1:-check}" "$binaries/counts" "$binaries/counts-$other" "${@:2}"
