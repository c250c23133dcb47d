#!/usr/bin/env bash
# The test command of the README, so that the gate runs the command that a reader runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command="cargo test --workspace --all-features"
grep -qxF "$command" README.md || { echo "README.md names another test command than: $command"; exit 1; }
$command

# The same without `inspect` and `tracing`. With them every region has a node from the start; without them a region has
# a node only if one is needed.
cargo test -p moored --features testing,tokio,smol --test it --test panic --test no_hook --test model
