#!/usr/bin/env bash
# What is published: licences, the README and the schema are in the package of moored-mcp, and a library that uses it without
# its default features builds no command line.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

list=$(cargo package -p moored-mcp --list --allow-dirty)
for file in Cargo.toml LICENSE-APACHE LICENSE-MIT README.md schema/doctor.schema.json src/lib.rs; do
    grep -qx "$file" <<<"$list" || { echo "$file is not in the package of moored-mcp"; exit 1; }
done

for features in "" "--features config" "--features config,tls"; do
    # shellcheck disable=SC2086 # a list of words
    tree=$(cargo tree --quiet -p moored-mcp --edges normal --no-default-features $features --prefix none)
    if found=$(grep -E '^(clap|comfy-table|console|indicatif|textwrap)[_ ]' <<<"$tree"); then
        echo "moored-mcp without its default features but \"$features\" has: $found"
        exit 1
    fi
done
