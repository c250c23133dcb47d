#!/usr/bin/env bash
# The README's test command, word for word: what a reader runs is what the gate runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command="cargo test --workspace --all-features"
grep -qxF "$command" README.md || { echo "README.md names another test command than: $command"; exit 1; }
$command
