#!/usr/bin/env bash
# Whether each seeded bug still fits the sources: one whose text is gone tests nothing. ci/mutants.sh seeds them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

exec bash ci/mutants.sh --check
