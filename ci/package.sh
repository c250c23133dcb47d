#!/usr/bin/env bash
# The published packages: they contain the licences and every file that their README links to; moored brings few crates;
# and a library that uses moored-mcp without its default features builds no command line.
#
# `bash ci/package.sh verify` also packs both crates, unpacks them in an empty folder outside of the workspace, and builds
# each with its default features and with all of them. That takes minutes, so ci/deep.sh runs it. `bash ci/package.sh
# unpack FOLDER` leaves the packages in that folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A registry shows the README without the folder around it, so that a relative link leads nowhere: links to files of the
# package go through the page of its sources.
for folder in . mcp; do
    cargo package --quiet --allow-dirty --list --manifest-path "$folder/Cargo.toml" 2>/dev/null | python3 -c '
import os, re, sys
folder = sys.argv[1]
shipped = set(sys.stdin.read().split("\n"))
readme = open(os.path.join(folder, "README.md"), encoding="utf-8").read()
links = re.findall(r"\]\(([^)\s]+)[^)]*\)|^\[[^\]]+\]:\s*(\S+)", readme, re.MULTILINE)
links = [inline or reference for inline, reference in links]
crate = "moored" if folder == "." else "moored-mcp"
sources = f"https://docs.rs/crate/{crate}/latest/source/"
wrong = [f"{folder}/README.md: the link {link} is relative" for link in links if not re.match(r"https://|#", link)]
needed = ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "src/lib.rs"]
needed += [link.removeprefix(sources) for link in links if link.startswith(sources)]
if folder == "mcp":
    needed.append("schema/doctor.schema.json")
wrong += [f"{name} is not in the package of {folder}/Cargo.toml" for name in needed if name not in shipped]
sys.exit("\n".join(wrong) or 0)' "$folder"
done

# few TREE: the crates that a project gets with moored, itself included. None of them is a procedural macro.
few() {
    local crates
    crates=$(sort -u <<<"$1")
    if grep -F '(proc-macro)' <<<"$crates" || [ "$(wc -l <<<"$crates")" -gt 12 ]; then
        echo "moored brings procedural macros, or more than 12 crates:"
        echo "$crates"
        return 1
    fi
    echo "moored and its dependencies: $(wc -l <<<"$crates") crates, no procedural macro"
}
few "$(cargo tree --quiet -p moored --edges normal,build --prefix none --no-dedupe)"

for features in "" "--features config" "--features config,tls"; do
    # shellcheck disable=SC2086 # a list of words
    tree=$(cargo tree --quiet -p moored-mcp --edges normal --no-default-features $features --prefix none)
    if found=$(grep -E '^(clap|comfy-table|console|indicatif|textwrap)[_ ]' <<<"$tree"); then
        echo "moored-mcp without its default features but \"$features\" has: $found"
        exit 1
    fi
done
case ${1:-} in
verify) empty=$(mktemp -d) && trap 'rm -rf "$empty"' EXIT ;;
unpack) empty=$2 ;;
*) exit 0 ;;
esac

target=${CARGO_TARGET_DIR:-$PWD/target}
CARGO_TARGET_DIR=$target cargo package --quiet --allow-dirty --no-verify -p moored -p moored-mcp
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
for crate in moored moored-mcp; do
    mkdir "$empty/$crate"
    tar -xzf "$target/package/$crate-$version.crate" -C "$empty/$crate" --strip-components 1
done
# moored-mcp takes the moored that stands beside it, because this version may not be published yet.
mkdir "$empty/.cargo"
printf '[patch.crates-io]\nmoored = { path = "%s/moored" }\n' "$empty" >"$empty/.cargo/config.toml"
[ "$1" = verify ] || exit 0

export CARGO_TARGET_DIR=$target/package-verify
for crate in moored moored-mcp; do
    cd "$empty/$crate"
    cargo check --quiet --all-features
    cargo check --quiet
done
# The first step of a new user, with the newest releases of the dependencies.
cargo init --quiet --lib --vcs none "$empty/project"
cd "$empty/project"
cargo add --quiet --path ../moored
few "$(cargo tree --quiet -p moored --edges normal,build --prefix none --no-dedupe)"
cargo check --quiet
echo "both packages build in an empty folder"
