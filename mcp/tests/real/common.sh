# The parts that run.sh and serve.sh share: what is started is ended, what is checked is counted, what is needed is installed.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)

# The whole run is bounded: what hangs in spite of all limits ends with it.
bounded() {
    local limit=$1
    shift
    [ -z "${REAL_IS_BOUNDED:-}" ] || return 0
    REAL_IS_BOUNDED=1 exec timeout --kill-after=30s "$limit" bash "$0" "$@"
}

work=$(mktemp -d)
# Packages are kept in FIELD between runs, if it is set.
field=${FIELD:-$work}
mkdir -p "$field"

# Only what was started here, by its id.
started=()
end() {
    kill "$@" 2>/dev/null || true
    wait "$@" 2>/dev/null || true
}
finish() {
    [ ${#started[@]} = 0 ] || end "${started[@]}"
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

busy=()
# Keeps N processors busy until `idle`.
load() {
    local _
    for _ in $(seq "$1"); do
        while :; do :; done &
        busy+=($!)
        started+=($!)
    done
}
idle() {
    [ ${#busy[@]} = 0 ] || end "${busy[@]}"
    busy=()
}

now() { date +%s%3N; }

# Waits until a command succeeds, two minutes at most: on a loaded machine an interpreter takes its time.
until_true() {
    local _
    for _ in $(seq 1200); do
        if "$@" 2>/dev/null; then return 0; fi
        sleep 0.1
    done
    return 1
}

# The checks.
rows=()
failures=0
passed() { rows+=("ok       $*"); }
skipped() {
    echo "skipped: $*"
    rows+=("skipped  $*")
}
fail() {
    echo "FAILED: $*"
    rows+=("FAILED   $(head -n 1 <<<"$*" | cut -c 1-200)")
    failures=$((failures + 1))
}
# expect WHAT PATTERN FILE
expect() {
    if grep -q -- "$2" "$3"; then passed "$1"; else fail "$1: no '$2' in: $(head -c 600 "$3")"; fi
}
# Whether anything runs whose command line names the directory of this run.
left_over() { ps -eo pid=,args= | grep -F "$work/" | grep -v -e grep -e "$0" || true; }

# The program under test: the argument, or else what is built.
program() {
    if [ $# -ge 1 ]; then
        realpath "$1"
    else
        (cd "$root" && cargo build --quiet -p moored-mcp)
        realpath "${CARGO_TARGET_DIR:-$root/target}/debug/moored-mcp"
    fi
}

# Packages. Every command that loads some is bounded, and says why it failed in the file of its name.
modules=$field/npm/node_modules
have_npm() { command -v npm >/dev/null && command -v node >/dev/null; }
npm_install() {
    timeout 600 npm install --prefix "$field/npm" --no-audit --no-fund --silent "$@" >"$work/npm.log" 2>&1
}
uv=$field/uv/bin/uv
uvx=$field/uv/bin/uvx
export UV_CACHE_DIR=$field/uvcache
uv_install() {
    [ -x "$uvx" ] && return 0
    { python3 -m venv "$field/uv" && timeout 300 "$field/uv/bin/pip" install --quiet --disable-pip-version-check uv; } >"$work/pip.log" 2>&1
}
# Into uv's cache, so that a launch loads nothing: uvx_install PACKAGE VERSION
uvx_install() {
    timeout 300 "$uvx" --quiet --from "$1==$2" python -c '' >"$work/uv.log" 2>&1 </dev/null
}
# An environment with these packages: venv NAME PACKAGE==VERSION ..
venv() {
    local dir=$field/venv-$1
    shift
    [ -x "$dir/bin/python" ] || timeout 120 "$uv" venv --quiet "$dir" >"$work/uv.log" 2>&1 || return 1
    timeout 600 "$uv" pip install --quiet --python "$dir/bin/python" "$@" >"$work/uv.log" 2>&1
}
