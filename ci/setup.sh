#!/usr/bin/env bash
# The tools that the other scripts need beside the toolchain of rust-toolchain.toml, which rustup installs
# by itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# cc links everything and builds ring; c++ builds libfuzzer; python3 checks the doctor's JSON; valgrind counts
# instructions.
missing=()
command -v cc >/dev/null && command -v c++ >/dev/null || missing+=(build-essential)
command -v python3 >/dev/null || missing+=(python3)
command -v valgrind >/dev/null || missing+=(valgrind)
if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
for component in clippy rustfmt; do
    cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component"
done

# `--locked`: a lock file that does not fit the manifests fails here and by name, not in the middle of a build.
cargo fetch --quiet --locked
cargo fetch --quiet --locked --manifest-path fuzz/Cargo.toml
cargo --version
