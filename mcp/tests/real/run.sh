#!/usr/bin/env bash
# The doctor and `call` against servers that nobody here wrote: server-everything from npm over stdio and over
# streamable HTTP, and the Python package `mcp` in its two major versions over the same two.
#
#     bash mcp/tests/real/run.sh [BINARY]
#
# Without BINARY the program is built. What is missing is skipped with a word; 0 means that nothing failed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
everything=@modelcontextprotocol/server-everything@${EVERYTHING_VERSION:-2026.8.31}
python_versions=${PYTHON_MCP_VERSIONS:-"1.30.0 2.3.0"}

work=$(mktemp -d)
servers=()
finish() {
    # Only what was started here, by its id.
    for pid in "${servers[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT

failures=0
fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

if [ $# -ge 1 ]; then
    doctor=$1
else
    (cd "$here/../../.." && cargo build --quiet -p moored-mcp)
    doctor=${CARGO_TARGET_DIR:-$here/../../../target}/debug/moored-mcp
fi

# Examines a configuration for a person, then for a program, and expects all well in both.
examine() {
    local config=$1
    echo
    timeout 120 "$doctor" doctor "$config" || fail "doctor $config: status $?"
    timeout 120 "$doctor" doctor "$config" --json >"$work/report.json" || fail "doctor --json $config: status $?"
    grep -q '"clean": true' "$work/report.json" || fail "the report is not clean"
}

# Calls `echo` of a server and expects the words back.
echo_back() {
    local config=$1 server=$2 answer
    echo "call $server/echo:"
    answer=$(timeout 120 "$doctor" call "$config" "$server/echo" '{"message": "ahoy from moored"}' --timeout 20s) ||
        fail "call $server/echo: status $?"
    echo "$answer"
    grep -q 'ahoy from moored' <<<"$answer" || fail "$server did not echo"
}

# Waits until a command succeeds, ten seconds at most.
until_true() {
    for _ in $(seq 100); do
        if "$@" 2>/dev/null; then return 0; fi
        sleep 0.1
    done
    return 1
}

npm_server() {
    echo "== $everything"
    npm install --prefix "$work/npm" --no-audit --no-fund --silent "$everything" 2>"$work/npm.log" || {
        echo "skipped: npm could not install it: $(tail -n 1 "$work/npm.log")"
        return
    }
    local program=$work/npm/node_modules/@modelcontextprotocol/server-everything/dist/index.js
    local log=$work/everything.log port_file=$work/everything.port port

    PORT=0 PORT_FILE=$port_file node --require "$here/loopback.cjs" "$program" streamableHttp >"$log" 2>&1 &
    servers+=($!)
    until_true test -s "$port_file" || {
        fail "server-everything did not listen: $(cat "$log")"
        return
    }
    port=$(cat "$port_file")

    cat >"$work/everything.json" <<JSON
{"mcpServers": {
    "everything-stdio": {"command": "node", "args": ["$program", "stdio"]},
    "everything-http": {"url": "http://127.0.0.1:$port/mcp"}
}}
JSON
    examine "$work/everything.json"
    [ "$(grep -c '"delete": "terminated"' "$work/report.json")" = 1 ] || fail "the HTTP session was not terminated"
    echo_back "$work/everything.json" everything-stdio
    echo_back "$work/everything.json" everything-http

    # The server's own log: every session that it began was ended by a DELETE.
    sed -n 's/^Session initialized with ID: //p' "$log" | sort >"$work/begun"
    sed -n 's/^Received session termination request for session //p' "$log" | sort >"$work/ended"
    echo "its log: $(wc -l <"$work/begun") sessions begun, $(wc -l <"$work/ended") ended by DELETE"
    [ "$(wc -l <"$work/begun")" = 3 ] || fail "three sessions were expected in the log"
    diff "$work/begun" "$work/ended" || fail "a session was not ended by a DELETE"
}

python_server() {
    local version=$1 venv=$work/venv-$1
    echo
    echo "== Python mcp $version"
    { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "mcp==$version"; } \
        >"$work/pip.log" 2>&1 || {
        echo "skipped: pip could not install it: $(tail -n 1 "$work/pip.log")"
        return
    }
    local entries="\"python-stdio\": {\"command\": \"$venv/bin/python\", \"args\": [\"$here/echo_server.py\", \"stdio\"]}"
    local log=$work/python-$version.log port begun ended
    PYTHONUNBUFFERED=1 "$venv/bin/python" "$here/echo_server.py" http >"$log" 2>&1 &
    servers+=($!)
    until_true grep -q 'running on http://127.0.0.1:' "$log" || {
        fail "the Python server did not listen: $(cat "$log")"
        return
    }
    port=$(sed -n 's|.*running on http://127.0.0.1:\([0-9]*\).*|\1|p' "$log")
    cat >"$work/python.json" <<JSON
{"mcpServers": {
    "python-stdio": {"command": "$venv/bin/python", "args": ["$here/echo_server.py", "stdio"]},
    "python-http": {"url": "http://127.0.0.1:$port/mcp"}
}}
JSON
    examine "$work/python.json"
    echo_back "$work/python.json" python-stdio
    echo_back "$work/python.json" python-http

    # Every `initialized` is a session of ours, and each is ended by a DELETE. (The server makes a transport for the era
    # probe too, and ends it itself.) The second version speaks the era without sessions: it has none to end.
    begun=$(grep -c '"POST /mcp HTTP/1.1" 202' "$log" || true)
    ended=$(grep -c '"DELETE /mcp HTTP/1.1" 200' "$log" || true)
    echo "its log: $begun sessions begun, $ended ended by DELETE"
    local expected=0
    [[ $version != 1.* ]] || expected=3
    [ "$begun" = $expected ] && [ "$ended" = $expected ] || fail "$expected were expected: $(cat "$log")"
    sed -n 's/^Created new transport with session ID: //p' "$log" | sort >"$work/begun"
    sed -n 's/^Terminating session: //p' "$log" | sort >"$work/ended"
    diff "$work/begun" "$work/ended" || fail "the server still has a transport"
}

if command -v npm >/dev/null && command -v node >/dev/null; then
    npm_server
else
    echo "skipped: no npm on this machine"
fi
if command -v python3 >/dev/null; then
    for version in $python_versions; do
        python_server "$version"
    done
else
    echo "skipped: no Python on this machine"
fi

echo
if [ $failures -gt 0 ]; then
    echo "$failures checks failed"
    exit 1
fi
echo "all that was there was left cleanly"
