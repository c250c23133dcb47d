#!/usr/bin/env bash
# Writes docs/mcp-faults.md anew from the fault suite, with the times of this run: `bash ci/mcp-faults.sh`. In every run of
# the tests the page is checked against what is seen, its times aside.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

MOORED_MCP_FAULTS_PAGE=$PWD/docs/mcp-faults.md cargo test --quiet -p moored-mcp --test faults
