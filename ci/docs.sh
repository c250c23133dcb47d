#!/usr/bin/env bash
# The documentation, with warnings denied: a link that leads nowhere fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --all-features --no-deps
