#!/usr/bin/env bash
# `moored-mcp serve` in front of five published servers, one of them dead, used by clients that nobody here wrote: curl, the
# Python SDK in its two major versions, the TypeScript SDK, and LiteLLM's proxy in front of the gateway.
#
#     bash mcp/tests/real/serve.sh [BINARY]
#
# Without BINARY the program is built. What is missing is skipped with a word; 0 means that nothing failed. LITELLM is a
# Python that has `litellm[proxy]`; FIELD a directory with npm/node_modules and v/bin/uvx, used in place of the network.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
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
    gateway=$(realpath "$1")
else
    (cd "$here/../../.." && cargo build --quiet -p moored-mcp)
    gateway=$(realpath "${CARGO_TARGET_DIR:-$here/../../../target}/debug/moored-mcp")
fi

rows=()
failures=0
passed() { rows+=("ok       $*"); }
skipped() { rows+=("skipped  $*"); }
fail() {
    echo "FAILED: $*"
    rows+=("FAILED   $*")
    failures=$((failures + 1))
}
# expect WHAT PATTERN FILE
expect() {
    if grep -q -- "$2" "$3"; then passed "$1"; else fail "$1: no '$2' in: $(head -c 600 "$3")"; fi
}
now() { date +%s%3N; }

# Where the published servers are.
modules=${FIELD:+$FIELD/npm/node_modules}
uvx=${FIELD:+$FIELD/v/bin/uvx}
uvx=${uvx:-$(command -v uvx || true)}
if [ -n "${FIELD:-}" ]; then
    export UV_CACHE_DIR=$FIELD/uvcache UV_OFFLINE=1
elif command -v npm >/dev/null; then
    echo "installing from npm"
    npm install --prefix "$work/npm" --no-audit --no-fund --silent \
        @modelcontextprotocol/server-{everything,filesystem,memory} mcp-remote 2>"$work/npm.log" || true
    modules=$work/npm/node_modules
fi
if [ ! -d "$modules/@modelcontextprotocol/server-everything" ] || [ -z "$uvx" ]; then
    echo "skipped: npm's servers or uvx are missing"
    exit 0
fi

mkdir "$work/files"
cat >"$work/fleet.json" <<JSON
{"mcpServers": {
    "everything": {"command": "node", "args": ["$modules/@modelcontextprotocol/server-everything/dist/index.js", "stdio"]},
    "files": {"command": "$modules/.bin/mcp-server-filesystem", "args": ["$work/files"]},
    "memory": {"command": "sh", "args": ["-c", "$modules/.bin/mcp-server-memory"]},
    "time": {"command": "$uvx", "args": ["mcp-server-time"], "env": {"UV_CACHE_DIR": "${UV_CACHE_DIR:-}", "UV_OFFLINE": "${UV_OFFLINE:-}"}},
    "dead": {"command": "$modules/.bin/mcp-remote", "args": ["http://127.0.0.1:9/mcp"]}
}}
JSON
[ -n "${UV_CACHE_DIR:-}" ] || sed -i 's/, "env": {[^}]*}//' "$work/fleet.json"

echo "== HTTP"
began=$(now)
# The log with the time of each line.
"$gateway" serve "$work/fleet.json" --listen 127.0.0.1:0 --json --settle 60s >"$work/report.json" \
    2> >(while IFS= read -r line; do echo "$(($(now) - began)) ms $line"; done >"$work/log") &
pid=$!
started+=("$pid")
for _ in $(seq 100); do
    url=$(grep -o 'http://[^ ]*' "$work/log" | head -n 1 || true)
    [ -z "$url" ] || break
    sleep 0.02
done
[ -n "$url" ] || { cat "$work/log"; exit 1; }
echo "$url after $(($(now) - began)) ms"

rpc() { # rpc METHOD PARAMS [MORE curl arguments]
    local method=$1 params=$2
    shift 2
    curl -sS --max-time 90 "$url" -H 'Content-Type: application/json' -H 'MCP-Protocol-Version: 2026-07-28' \
        -H "Mcp-Method: $method" "$@" -d '{"jsonrpc": "2.0", "id": 1, "method": "'"$method"'", "params": {"_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}'"$params"'}}'
}
rpc tools/list '' >"$work/tools"
settled=$(($(now) - began))
echo "every server had its outcome after $settled ms"
expect "curl: tools of everything" everything__echo "$work/tools"
expect "curl: tools of files" files__read_file "$work/tools"
expect "curl: tools of memory" memory__ "$work/tools"
expect "curl: tools of time" time__ "$work/tools"
rpc tools/call ', "name": "everything__echo", "arguments": {"message": "ahoy"}' -H 'Mcp-Name: everything__echo' >"$work/answer"
expect "curl: a call" ahoy "$work/answer"
rpc tools/call ', "name": "dead__any"' -H 'Mcp-Name: dead__any' >"$work/answer"
expect "curl: the dead one's cause" 'ECONNREFUSED\|refused\|exited with status' "$work/answer"
echo "dead: $(head -c 400 "$work/answer")"
rpc tools/call ', "name": "everything__echo", "arguments": {"message": "ahoy"}' -H 'Mcp-Name: everything__echo' \
    -H 'Accept: text/event-stream' >"$work/answer"
expect "curl: a call, streamed or not" ahoy "$work/answer"
curl -sS "${url%/mcp}/health" >"$work/health"
expect "curl: health" '"down":1' "$work/health"
status=$(curl -sS -o /dev/null -w '%{http_code}' "$url" -H 'Host: evil.example' -d '{}')
if [ "$status" = 403 ]; then passed "curl: a foreign Host"; else fail "curl: a foreign Host: $status"; fi

python_client() { # python_client NAME WHERE PROGRAM..
    local what=$1 where=$2 version=$3
    shift 3
    if ! timeout 120 "$uvx" --quiet --with "mcp==$version" python -c 'import mcp' 2>"$work/py.log"; then
        skipped "$what: the package mcp $version is missing"
        return
    fi
    timeout 120 "$uvx" --quiet --with "mcp==$version" python "$here/serve_client.py" "$where" everything__echo dead__any "$@" \
        >"$work/client" 2>"$work/client.err" || {
        fail "$what: status $?: $(tail -n 3 "$work/client.err")"
        return
    }
    cat "$work/client"
    expect "$what: a call" 'called .*ahoy' "$work/client"
    expect "$what: the dead one's cause" 'dead .*not connected' "$work/client"
    if grep -v '^ *$' "$work/client.err" | grep -qi 'warn\|error'; then fail "$what complains: $(head -n 3 "$work/client.err")"; fi
}
for version in 1.30.0 2.3.0; do
    echo "== Python $version"
    python_client "Python $version over HTTP" "$url" "$version"
done

echo "== TypeScript"
if [ -d "$modules/@modelcontextprotocol/sdk" ]; then
    if timeout 60 node "$here/serve_client.mjs" "$modules/@modelcontextprotocol/sdk" "$url" everything__echo dead__any >"$work/client" 2>&1; then
        cat "$work/client"
        expect "TypeScript: a call" 'called .*ahoy' "$work/client"
        expect "TypeScript: the dead one's cause" 'dead .*not connected' "$work/client"
    else
        fail "TypeScript: $(tail -n 5 "$work/client")"
    fi
else
    skipped "TypeScript: the SDK is missing"
fi

echo "== LiteLLM"
if [ -n "${LITELLM:-}" ]; then
    port=$("$LITELLM" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >"$work/litellm.yaml" <<YAML
model_list: []
general_settings:
  master_key: sk-moored
mcp_servers:
  fleet:
    url: $url
    transport: http
    allow_all_keys: true
YAML
    (cd "$work" && exec env LITELLM_TELEMETRY=False LITELLM_LOCAL_MODEL_COST_MAP=True "$(dirname "$LITELLM")/litellm" \
        --config "$work/litellm.yaml" --host 127.0.0.1 --port "$port") >"$work/litellm.log" 2>&1 &
    proxy=$!
    started+=("$proxy")
    for _ in $(seq 240); do
        curl -sS "http://127.0.0.1:$port/health/liveliness" >/dev/null 2>&1 && break
        sleep 0.5
    done
    curl -sS --max-time 60 "http://127.0.0.1:$port/mcp-rest/tools/list" -H 'Authorization: Bearer sk-moored' >"$work/answer" || true
    expect "LiteLLM: tools through its proxy" everything__echo "$work/answer"
    server=$(grep -o '"server_id":"[^"]*"' "$work/answer" | head -n 1 | cut -d'"' -f4)
    curl -sS --max-time 60 "http://127.0.0.1:$port/mcp-rest/tools/call" -H 'Authorization: Bearer sk-moored' \
        -H 'Content-Type: application/json' \
        -d '{"server_id": "'"$server"'", "name": "everything__echo", "arguments": {"message": "ahoy"}}' >"$work/answer" || true
    expect "LiteLLM: a call through its proxy" ahoy "$work/answer"
    echo "litellm: $(head -c 300 "$work/answer")"
    kill "$proxy"
    wait "$proxy" 2>/dev/null || true
else
    skipped "LiteLLM: LITELLM names no Python"
fi

echo "== leaving"
family=$(ps -o pid= --ppid "$pid" | wc -l)
began=$(now)
kill -INT "$pid"
status=0
wait "$pid" || status=$?
took=$(($(now) - began))
cat "$work/log"
echo "left $family children in $took ms, status $status"
if [ "$took" -lt 5500 ]; then passed "Ctrl-C leaves all within the budget: $took ms"; else fail "leaving took $took ms"; fi
expect "the report" '"version": 1' "$work/report.json"
if ps -eo args= | grep -F "$work" | grep -qv grep; then
    fail "something of it still runs: $(ps -eo pid=,args= | grep -F "$work" | grep -v grep | head -n 3)"
else
    passed "nothing of it still runs"
fi
# The last of the first outcomes.
slowest=$(grep -E ': (up|exited|unreachable|timed out)' "$work/log" | awk '!seen[$4]++ { print $1 }' | sort -n | tail -n 1)
echo "slowest server: $slowest ms; all had their outcome after $settled ms"
if [ $((settled - slowest)) -lt 1000 ]; then
    passed "start-up: $settled ms beside the slowest server's $slowest ms"
else
    fail "start-up: $settled ms beside the slowest server's $slowest ms"
fi

echo "== stdio"
for version in 1.30.0 2.3.0; do
    python_client "Python $version over stdio" stdio "$version" "$gateway" serve "$work/fleet.json"
done

printf '\n'
printf '%s\n' "${rows[@]}"
echo "$failures failed"
[ "$failures" = 0 ]
