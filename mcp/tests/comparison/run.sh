#!/usr/bin/env bash
# The same faults against stock rmcp, against moored-mcp and, where an interpreter with the package `mcp` is named, against the
# Python SDK's `ClientSessionGroup`; writes docs/mcp-comparison.md.
#
#     bash mcp/tests/comparison/run.sh [PYTHON..]
#
# It takes some minutes: what waits for ever is waited for twelve seconds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

export MOORED_MCP_COMPARISON_PAGE=$PWD/docs/mcp-comparison.md
export MOORED_MCP_PYTHONS="${*}"
cargo test --quiet -p moored-mcp --test faults -- --ignored comparison --nocapture
