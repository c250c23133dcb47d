#!/usr/bin/env bash
# The published packages: they contain the licences and every file that their README links to, and a library that uses
# moored-mcp without its default features builds no command line.
#
# `bash ci/package.sh verify` also packs both crates, unpacks them in an empty folder outside of the workspace, and builds
# each with its default features and with all of them. That takes minutes, so ci/deep.sh runs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for folder in . mcp; do
    cargo package --quiet --allow-dirty --list --manifest-path "$folder/Cargo.toml" 2>/dev/null | python3 -c '
import os, re, sys
folder = sys.argv[1]
shipped = set(sys.stdin.read().split("\n"))
readme = open(os.path.join(folder, "README.md"), encoding="utf-8").read()
links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", readme) if "://" not in link]
needed = ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "src/lib.rs", *links]
if folder == "mcp":
    needed.append("schema/doctor.schema.json")
sys.exit("\n".join(f"{name} is not in the package of {folder}/Cargo.toml" for name in needed if name not in shipped) or 0)' "$folder"
done

for features in "" "--features config" "--features config,tls"; do
    # shellcheck disable=SC2086 # a list of words
    tree=$(cargo tree --quiet -p moored-mcp --edges normal --no-default-features $features --prefix none)
    if found=$(grep -E '^(clap|comfy-table|console|indicatif|textwrap)[_ ]' <<<"$tree"); then
        echo "moored-mcp without its default features but \"$features\" has: $found"
        exit 1
    fi
done
[ "${1:-}" = verify ] || exit 0

target=${CARGO_TARGET_DIR:-$PWD/target}
CARGO_TARGET_DIR=$target cargo package --quiet --allow-dirty --no-verify -p moored -p moored-mcp
empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
for crate in moored moored-mcp; do
    tar -xzf "$target/package/$crate-$version.crate" -C "$empty"
done
# moored-mcp takes the moored that stands beside it, because this version may not be published yet.
mkdir "$empty/.cargo"
printf '[patch.crates-io]\nmoored = { path = "%s/moored-%s" }\n' "$empty" "$version" >"$empty/.cargo/config.toml"
for crate in moored moored-mcp; do
    cd "$empty/$crate-$version"
    CARGO_TARGET_DIR=$target/package-verify cargo check --quiet --all-features
    CARGO_TARGET_DIR=$target/package-verify cargo check --quiet
done
echo "both packages build in an empty folder"
