#!/usr/bin/env bash
# The README's test command, word for word: what a reader runs is what the gate runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command="cargo test --workspace --all-features"
grep -qxF "$command" README.md || { echo "README.md names another test command than: $command"; exit 1; }
$command

# The same without those who look on (`inspect`, `tracing`): for them every region has a node from the start, and otherwise
# only where something needs one.
cargo test -p moored --features testing,tokio,smol --test it --test panic --test no_hook --test model
