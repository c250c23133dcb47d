#!/usr/bin/env bash
# Seeded bugs: does anything notice them? `--check` only looks whether each still fits the sources; see ci/mutants/run.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

exec python3 ci/mutants/run.py "$@"
