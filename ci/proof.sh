#!/usr/bin/env bash
# What is said to be proved: every seeded bug and every line that need not be run still fit the sources, and docs/proof.md
# is what the runs wrote down. What makes the figures takes long and is in ci/deep.sh: `proof`, `seeded` and `coverage`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash ci/mutants.sh --check
python3 ci/coverage.py --check
python3 ci/proof.py --check
