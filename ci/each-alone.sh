#!/usr/bin/env bash
# Runs each test of an executable in a process of its own, as many at once as there are processors. Cargo calls it as its
# runner: each-alone.sh EXECUTABLE [FILTER..]. What a test has explored is always printed, the rest only if it fails.
#
# For loom, which maps and unmaps a stack for each thread of each interleaving. Two threads of one process wait for
# each other there, and take twice as long as two processes.
set -euo pipefail

export EXECUTABLE=$1
shift
alone() {
    if out=$("$EXECUTABLE" --exact "$1" --nocapture 2>&1); then
        grep "^explored" <<<"$out" || echo "passed $1"
    else
        printf '%s\nFAILED: %s\n' "$out" "$1"
        exit 255 # which ends xargs
    fi
}
export -f alone
tests=$("$EXECUTABLE" --list --format terse "$@" | sed -n 's/: test$//p')
[ -n "$tests" ] || { echo "no test has such a name: $*"; exit 1; }
xargs -n 1 -P "$(nproc)" bash -c 'alone "$1"' _ <<<"$tests"
