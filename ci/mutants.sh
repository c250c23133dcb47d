#!/usr/bin/env bash
# Seeded bugs, each of which a test, a model or a schedule must notice. `--check` only checks that each still fits the
# sources, `--switched` tries as many as compile together in one build; see ci/mutants/run.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

exec python3 ci/mutants/run.py "$@"
