#!/usr/bin/env bash
# The soak, optimised, with its figures: `bash mcp/tests/soak.sh`, or `CYCLES=10000 SESSIONS=200 ROUNDS=50 CALLS=100000
# bash ..`; `PROFILE=dev` for one that is not optimised.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# 200 sessions at once, half of them children with three pipes and a descriptor of their end.
ulimit -n 4096 2>/dev/null || true
cargo test --profile "${PROFILE:-release}" --quiet -p moored-mcp --test faults -- --ignored --exact soak --nocapture
