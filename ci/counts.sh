#!/usr/bin/env bash
# Instructions and allocations of the hot paths, against the pins of benches/counts.tsv. `bash ci/counts.sh pin` makes new
# pins, `bash ci/counts.sh all` counts the peers too. `bash ci/counts.sh inspect` prints what the feature `inspect` costs
# where it is on, and what large snapshots cost.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The profile that is measured: with link-time optimisation, in one unit. Without it calls between crates would count.
binaries=${CARGO_TARGET_DIR:-target}/release
other=count
[ "${1:-}" != inspect ] || other=inspect
cargo build --profile bench -p benches --bin counts --features "$other"
cp "$binaries/counts" "$binaries/counts-$other"
cargo build --profile bench -p benches --bin counts
python3 benches/counts.py "${1:-check}" "$binaries/counts" "$binaries/counts-$other"
