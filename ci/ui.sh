#!/usr/bin/env bash
# The programs that must not compile, with the compiler's words pinned, and their good twins.
#
# The words are those of the toolchain in rust-toolchain.toml. After a change of it, or of a signature:
#   TRYBUILD=overwrite bash ci/ui.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A member of its own, so that trybuild's project depends on the crate alone and builds in seconds.
cargo test -p ui-tests "$@"
