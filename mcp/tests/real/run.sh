#!/usr/bin/env bash
# The doctor and `call` against servers and clients' tests that nobody here wrote: server-everything from npm over stdio and
# over streamable HTTP, the Python package `mcp` in its two major versions over the same two, published Python servers that
# `uvx` starts, two at a time, and the client scenarios of npm's conformance suite.
#
#     [BUSY=2] bash mcp/tests/real/run.sh [BINARY]
#
# Without BINARY the program is built. BUSY is how many busy loops run beside it all the time: it has to hold on a loaded
# machine too. What is missing is skipped with a word; 0 means that nothing failed. A table at the end tells all.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
everything=@modelcontextprotocol/server-everything@${EVERYTHING_VERSION:-2026.8.31}
conformance=@modelcontextprotocol/conformance@${CONFORMANCE_VERSION:-0.1.16}
python_versions=${PYTHON_MCP_VERSIONS:-"1.30.0 2.3.0"}
uvx_servers=${UVX_SERVERS:-"mcp-server-time@2026.10.19 mcp-server-fetch@2026.10.24"}
uvx_rounds=${UVX_ROUNDS:-3}

work=$(mktemp -d)
started=()
finish() {
    # Only what was started here, by its id.
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT

if [ $# -ge 1 ]; then
    doctor=$(realpath "$1")
else
    (cd "$here/../../.." && cargo build --quiet -p moored-mcp)
    doctor=$(realpath "${CARGO_TARGET_DIR:-$here/../../../target}/debug/moored-mcp")
fi

for _ in $(seq "${BUSY:-0}"); do
    while :; do :; done &
    started+=($!)
done

# The rows of the table at the end.
rows=()
failures=0
passed() { rows+=("ok       $*"); }
skipped() {
    echo "skipped: $*"
    rows+=("skipped  $*")
}
fail() {
    echo "FAILED: $*"
    rows+=("FAILED   $*")
    failures=$((failures + 1))
}

# Examines a configuration for a person, then for a program, and expects all well in both.
examine() {
    local what=$1 config=$2 before=$failures
    echo
    timeout 300 "$doctor" doctor "$config" || fail "$what: doctor: status $?"
    timeout 300 "$doctor" doctor "$config" --json >"$work/report.json" || fail "$what: doctor --json: status $?"
    grep -q '^  "clean": true' "$work/report.json" || fail "$what: the report is not clean: $(cat "$work/report.json")"
    [ $failures != "$before" ] || passed "$what: doctor"
}

# How many servers of the last report have a line.
count() { grep -c "$1" "$work/report.json" || true; }

# Calls `echo` of a server and expects the words back.
echo_back() {
    local what=$1 config=$2 server=$3 answer
    echo "call $server/echo:"
    answer=$(timeout 300 "$doctor" call "$config" "$server/echo" '{"message": "ahoy from moored"}' --timeout 60s) || {
        fail "$what: call $server/echo: status $?"
        return
    }
    echo "$answer"
    if grep -q 'ahoy from moored' <<<"$answer"; then passed "$what: call $server/echo"; else fail "$what: $server did not echo"; fi
}

# Waits until a command succeeds, a minute at most: on a loaded machine an interpreter takes its time.
until_true() {
    for _ in $(seq 600); do
        if "$@" 2>/dev/null; then return 0; fi
        sleep 0.1
    done
    return 1
}

# Installs from npm, or says why not.
npm_install() {
    npm install --prefix "$work/npm" --no-audit --no-fund --silent "$@" 2>"$work/npm.log"
}

npm_server() {
    local what=server-everything
    echo "== $everything"
    npm_install "$everything" || {
        skipped "$what: npm could not install it: $(tail -n 1 "$work/npm.log")"
        return
    }
    local program=$work/npm/node_modules/@modelcontextprotocol/server-everything/dist/index.js
    local log=$work/everything.log port_file=$work/everything.port port

    PORT=0 PORT_FILE=$port_file node --require "$here/loopback.cjs" "$program" streamableHttp >"$log" 2>&1 &
    started+=($!)
    until_true test -s "$port_file" || {
        fail "$what did not listen: $(cat "$log")"
        return
    }
    port=$(cat "$port_file")

    cat >"$work/everything.json" <<JSON
{"mcpServers": {
    "everything-stdio": {"command": "node", "args": ["$program", "stdio"]},
    "everything-http": {"url": "http://127.0.0.1:$port/mcp"}
}}
JSON
    examine "$what" "$work/everything.json"
    [ "$(count '"delete": "terminated"')" = 1 ] || fail "$what: the HTTP session was not terminated"
    echo_back "$what" "$work/everything.json" everything-stdio
    echo_back "$what" "$work/everything.json" everything-http

    # The server's own log: every session that it began was ended by a DELETE.
    sed -n 's/^Session initialized with ID: //p' "$log" | sort >"$work/begun"
    sed -n 's/^Received session termination request for session //p' "$log" | sort >"$work/ended"
    echo "its log: $(wc -l <"$work/begun") sessions begun, $(wc -l <"$work/ended") ended by DELETE"
    [ "$(wc -l <"$work/begun")" = 3 ] || fail "$what: three sessions were expected in the log"
    if diff "$work/begun" "$work/ended"; then
        passed "$what: each session was ended by a DELETE"
    else
        fail "$what: a session was not ended by a DELETE"
    fi
}

python_server() {
    local version=$1 what="Python mcp $1" venv=$work/venv-$1
    echo
    echo "== $what"
    { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "mcp==$version"; } \
        >"$work/pip.log" 2>&1 || {
        skipped "$what: pip could not install it: $(tail -n 1 "$work/pip.log")"
        return
    }
    local log=$work/python-$version.log port begun ended
    PYTHONUNBUFFERED=1 "$venv/bin/python" "$here/echo_server.py" http >"$log" 2>&1 &
    started+=($!)
    until_true grep -q 'running on http://127.0.0.1:' "$log" || {
        fail "$what: the server did not listen: $(cat "$log")"
        return
    }
    port=$(sed -n 's|.*running on http://127.0.0.1:\([0-9]*\).*|\1|p' "$log")
    cat >"$work/python.json" <<JSON
{"mcpServers": {
    "python-stdio": {"command": "$venv/bin/python", "args": ["$here/echo_server.py", "stdio"]},
    "python-http": {"url": "http://127.0.0.1:$port/mcp"}
}}
JSON
    examine "$what" "$work/python.json"
    local era=2026-07-28
    [[ $version != 1.* ]] || era=2025-11-25
    if [ "$(count "\"era\": \"$era\"")" = 2 ]; then passed "$what: era $era"; else fail "$what: another era than $era"; fi
    echo_back "$what" "$work/python.json" python-stdio
    echo_back "$what" "$work/python.json" python-http

    # Every `initialized` is a session of ours, and each is ended by a DELETE. (The server makes a transport for the era
    # probe too, and ends it itself.) The second version speaks the era without sessions: it has none to end.
    begun=$(grep -c '"POST /mcp HTTP/1.1" 202' "$log" || true)
    ended=$(grep -c '"DELETE /mcp HTTP/1.1" 200' "$log" || true)
    echo "its log: $begun sessions begun, $ended ended by DELETE"
    local expected=0
    [[ $version != 1.* ]] || expected=3
    [ "$begun" = $expected ] && [ "$ended" = $expected ] || fail "$what: $expected sessions were expected: $(cat "$log")"
    sed -n 's/^Created new transport with session ID: //p' "$log" | sort >"$work/begun"
    sed -n 's/^Terminating session: //p' "$log" | sort >"$work/ended"
    if diff "$work/begun" "$work/ended"; then
        passed "$what: no transport is left in the server"
    else
        fail "$what: the server still has a transport"
    fi
}

# Published servers as their users start them: `uvx` starts an interpreter, all at the same time.
uvx_servers() {
    local what=uvx uvx=$work/uv/bin/uvx entries="" server round all=0 status
    echo
    echo "== uvx: $uvx_servers, the Python mcp 2.3.0"
    { python3 -m venv "$work/uv" && "$work/uv/bin/pip" install --quiet --disable-pip-version-check uv; } \
        >"$work/pip.log" 2>&1 || {
        skipped "$what: pip could not install it: $(tail -n 1 "$work/pip.log")"
        return
    }
    # Into uv's cache first: a download is no part of what is tried here.
    for server in $uvx_servers; do
        "$uvx" "$server" --help >"$work/uv.log" 2>&1 || {
            skipped "$what: it could not install $server: $(tail -n 1 "$work/uv.log")"
            return
        }
        entries+="\"${server%%@*}\": {\"command\": \"$uvx\", \"args\": [\"$server\"], \"env\": {\"UV_OFFLINE\": \"1\"}}, "
        all=$((all + 1))
    done
    "$uvx" --from mcp==2.3.0 python -c 'import mcp' >"$work/uv.log" 2>&1 || {
        skipped "$what: it could not install mcp 2.3.0: $(tail -n 1 "$work/uv.log")"
        return
    }
    local echo="\"--from\", \"mcp==2.3.0\", \"python\", \"$here/echo_server.py\", \"stdio\""
    echo "{\"mcpServers\": {${entries%, }}}" >"$work/uvx.json"
    echo "{\"mcpServers\": {$entries\"modern\": {\"command\": \"$uvx\", \"args\": [$echo], \"env\": {\"UV_OFFLINE\": \"1\"}}}}" \
        >"$work/uvx-modern.json"
    for round in $(seq "$uvx_rounds"); do
        status=0
        timeout 300 "$doctor" doctor "$work/uvx.json" --json >"$work/report.json" || status=$?
        if [ $status = 0 ] && [ "$(count '"outcome": "ok"')" = $all ]; then
            passed "$what: $all start together, round $round: $(sed -n 's/^      "connect_ms": \([0-9]*\),/\1 ms/p' "$work/report.json" | xargs)"
        else
            fail "$what: $all start together, round $round: status $status: $(cat "$work/report.json")"
        fi
    done
    examine "$what and a modern server" "$work/uvx-modern.json"
    [ "$(count '"era": "2026-07-28"')" -ge 1 ] || fail "$what: no server of the era 2026-07-28"
    echo_back "$what" "$work/uvx-modern.json" modern
}

# The scenario's own server judges what the program does with the address it is given.
conformance_scenario() {
    local scenario=$1
    shift
    printf '#!/bin/sh\nexec "%s" %s --url "$1"\n' "$doctor" "$*" >"$work/client"
    chmod +x "$work/client"
    if (cd "$work" && timeout 300 "$node" --require "$here/loopback.cjs" "$work/npm/node_modules/.bin/conformance" \
        client --command "$work/client" --scenario "$scenario" --timeout 120000) >"$work/conformance.log" 2>&1 &&
        grep -q 'OVERALL: PASSED' "$work/conformance.log"; then
        passed "conformance: $scenario"
    else
        cat "$work/conformance.log"
        fail "conformance: $scenario"
    fi
}

# The same with the example program, which reads the scenario from its environment.
conformance_example() {
    local scenario=$1 example=$2
    if (cd "$work" && timeout 300 "$node" --require "$here/loopback.cjs" "$work/npm/node_modules/.bin/conformance" \
        client --command "$example" --scenario "$scenario" --timeout 120000) >"$work/conformance.log" 2>&1 &&
        grep -q 'OVERALL: PASSED' "$work/conformance.log"; then
        passed "conformance: $scenario"
    else
        cat "$work/conformance.log"
        fail "conformance: $scenario"
    fi
}

# All of the suite's but two that rmcp has no answer to: 2025-03-26-oauth-metadata-backcompat, cross-app-access-complete-flow.
conformance_auth="auth/metadata-default auth/metadata-var1 auth/metadata-var2 auth/metadata-var3 auth/basic-cimd
    auth/2025-03-26-oauth-endpoint-fallback auth/scope-from-www-authenticate auth/scope-from-scopes-supported
    auth/scope-omitted-when-undefined auth/scope-step-up auth/scope-retry-limit auth/token-endpoint-auth-basic
    auth/token-endpoint-auth-post auth/token-endpoint-auth-none auth/client-credentials-jwt auth/client-credentials-basic
    auth/resource-mismatch auth/pre-registration auth/offline-access-scope auth/offline-access-not-supported"

conformance_client() {
    echo
    echo "== $conformance"
    # It wants Node 22, which npm has as a package.
    npm_install "$conformance" node@22 || {
        skipped "conformance: npm could not install it: $(tail -n 1 "$work/npm.log")"
        return
    }
    node=$work/npm/node_modules/.bin/node
    "$node" --version >/dev/null 2>&1 || {
        skipped "conformance: the Node of npm does not run here"
        return
    }
    conformance_scenario initialize doctor
    conformance_scenario tools_call "call add_numbers '{\"a\": 5, \"b\": 3}'"
    conformance_scenario sse-retry "call test_reconnection '{}' --timeout 30s"
    # The scenarios in which a client answers and authorises: that is the library, by an example program.
    (cd "$here/../../.." && cargo build --quiet -p moored-mcp --features auth --example conformance) || {
        skipped "conformance: elicitation and auth: the example does not build here"
        return
    }
    local example scenario
    example=$(realpath "${CARGO_TARGET_DIR:-$here/../../../target}/debug/examples/conformance")
    for scenario in elicitation-sep1034-client-defaults $conformance_auth; do
        conformance_example "$scenario" "$example"
    done
}

if command -v npm >/dev/null && command -v node >/dev/null; then
    npm_server
    conformance_client
else
    skipped "server-everything, conformance: no npm on this machine"
fi
if command -v python3 >/dev/null; then
    for version in $python_versions; do
        python_server "$version"
    done
    uvx_servers
else
    skipped "Python mcp, uvx: no Python on this machine"
fi

echo
echo "== all of it, with ${BUSY:-0} busy loops"
printf '%s\n' "${rows[@]}"
if [ $failures -gt 0 ]; then
    echo "$failures checks failed"
    exit 1
fi
echo "nothing that was there failed"
