#!/usr/bin/env bash
# The public interface of both crates, with all features, against the lists api/*.txt: a change of the interface is a
# change of a list, so that it is seen in review. `bash ci/api.sh pin` writes the lists anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# JSON is an unstable output of rustdoc. The pinned rustdoc writes it if it is told to take unstable options; rustc is
# not told, because build scripts would compile the dependencies in another way, and all of them twice.
cat >"$work/rustdoc" <<'RUSTDOC'
#!/bin/sh
RUSTC_BOOTSTRAP=1 exec rustdoc "$@"
RUSTDOC
chmod +x "$work/rustdoc"
# The same packages and features as in ci/docs.sh, so that the dependencies are checked once.
RUSTDOC=$work/rustdoc RUSTDOCFLAGS="-Zunstable-options --output-format=json --cap-lints=allow" \
    cargo doc --quiet --workspace --all-features --no-deps

changed=()
for crate in moored moored-mcp; do
    cargo run --quiet -p api -- "$target/doc/${crate//-/_}.json" >"$work/$crate.txt"
    if [ "${1:-}" = pin ]; then
        cp "$work/$crate.txt" "api/$crate.txt"
    elif ! diff -U 0 --label "api/$crate.txt" "api/$crate.txt" --label "the sources" "$work/$crate.txt"; then
        changed+=("$crate")
    fi
    echo "$crate: $(wc -l <"$work/$crate.txt") public items"
done
[ ${#changed[@]} -eq 0 ] || {
    echo "the public interface is not the pinned one: ${changed[*]}; if that is meant: bash ci/api.sh pin"
    exit 1
}
