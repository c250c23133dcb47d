#!/usr/bin/env bash
# The claims of docs/proof.md: every seeded bug and every line that need not be run still fit the sources, and the page
# matches the recorded results. The steps that make the figures take long and are in ci/deep.sh: `proof`, `seeded` and
# `coverage`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash ci/mutants.sh --check
python3 ci/coverage.py --check
python3 ci/proof.py --check
