#!/usr/bin/env bash
# `moored-mcp serve` in front of five published servers, one of them dead, used by clients that nobody here wrote: curl, the
# Python SDK in its two major versions, the TypeScript SDK, and LiteLLM's proxy in front of the gateway. Over HTTP the gateway
# asks for a bearer token.
#
#     [FIELD=DIR] bash mcp/tests/real/serve.sh [BINARY]
#
# Without BINARY the program is built. The packages are loaded with npm and uv, and kept in FIELD if it is set. What is missing
# is skipped with a word; 0 means that nothing failed.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
bounded "${LIMIT:-30m}" "$@"
gateway=$(program "$@")
litellm=1.102.4

echo "loading packages into $field"
if ! have_npm || ! npm_install @modelcontextprotocol/server-{everything,filesystem,memory}@2026.8.31 mcp-remote@0.15.1 \
    @modelcontextprotocol/sdk@1.32.2; then
    echo "skipped: npm's servers are missing"
    exit 0
fi
if ! command -v python3 >/dev/null || ! uv_install || ! uvx_install mcp-server-time 2026.10.19; then
    echo "skipped: uv is missing"
    exit 0
fi
for version in 1.30.0 2.3.0; do
    venv "mcp-$version" "mcp==$version" || skipped "Python mcp $version: $(tail -n 1 "$work/uv.log")"
done
venv litellm "litellm[proxy]==$litellm" || skipped "LiteLLM: $(tail -n 1 "$work/uv.log")"

mkdir "$work/files"
# A port of the kernel's choice, on which nothing listens any more.
closed=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/fleet.json" <<JSON
{"mcpServers": {
    "everything": {"command": "node", "args": ["$modules/@modelcontextprotocol/server-everything/dist/index.js", "stdio"]},
    "files": {"command": "$modules/.bin/mcp-server-filesystem", "args": ["$work/files"]},
    "memory": {"command": "sh", "args": ["-c", "$modules/.bin/mcp-server-memory"]},
    "time": {"command": "$uvx", "args": ["mcp-server-time@2026.10.19"], "env": {"UV_CACHE_DIR": "$UV_CACHE_DIR", "UV_OFFLINE": "1"}},
    "dead": {"command": "$modules/.bin/mcp-remote", "args": ["http://127.0.0.1:$closed/mcp"]}
}}
JSON

echo "== HTTP"
export TOKEN=moored-$RANDOM$RANDOM
began=$(now)
# The log with the time of each line.
FLEET_TOKEN=$TOKEN "$gateway" serve "$work/fleet.json" --listen 127.0.0.1:0 --json --settle 60s --connect-timeout 60s \
    --token-env FLEET_TOKEN >"$work/report.json" \
    2> >(while IFS= read -r line; do echo "$(($(now) - began)) ms $line"; done >"$work/log") &
pid=$!
started+=("$pid")
until_true grep -q 'http://' "$work/log" || { cat "$work/log"; exit 1; }
url=$(grep -o 'http://[^ ]*' "$work/log" | head -n 1)
echo "$url after $(($(now) - began)) ms"

authorized=(-H "Authorization: Bearer $TOKEN")
rpc() { # rpc METHOD PARAMS [MORE curl arguments]
    local method=$1 params=$2
    shift 2
    curl -sS --max-time 90 "$url" "${authorized[@]}" -H 'Content-Type: application/json' -H 'MCP-Protocol-Version: 2026-07-28' \
        -H "Mcp-Method: $method" "$@" -d '{"jsonrpc": "2.0", "id": 1, "method": "'"$method"'", "params": {"_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}'"$params"'}}'
}
# status_of WHAT STATUS curl arguments
status_of() {
    local what=$1 wanted=$2 status
    shift 2
    status=$(curl -sS --max-time 30 -o /dev/null -w '%{http_code}' "$url" "$@")
    if [ "$status" = "$wanted" ]; then passed "curl: $what: $status"; else fail "curl: $what: $status in the place of $wanted"; fi
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
expect "curl: the dead one's cause" ECONNREFUSED "$work/answer"
echo "dead: $(head -c 400 "$work/answer")"
rpc tools/call ', "name": "everything__echo", "arguments": {"message": "ahoy"}' -H 'Mcp-Name: everything__echo' \
    -H 'Accept: text/event-stream' >"$work/answer"
expect "curl: a call, streamed or not" ahoy "$work/answer"
curl -sS "${url%/mcp}/health" >"$work/health"
expect "curl: health" '"down":1' "$work/health"
if grep -q '"servers"' "$work/health"; then fail "curl: health tells a stranger of the servers"; fi
status_of "a foreign Host" 403 -H 'Host: evil.example' "${authorized[@]}" -d '{}'
status_of "no token" 401 -d '{}'
status_of "a wrong token" 401 -H 'Authorization: Bearer another' -d '{}'
status_of "a wrong token, listening" 401 -H 'Authorization: Bearer another'
head -c 5000000 /dev/zero >"$work/large"
status_of "a body beyond the limit" 413 "${authorized[@]}" -H 'Content-Type: application/json' --data-binary "@$work/large"
status_of "a body beyond the limit, sent at once" 413 "${authorized[@]}" -H 'Content-Type: application/json' -H 'Expect:' \
    --data-binary "@$work/large"

# A fault of the Python SDK before its second version, and none of the gateway's: its session closes the stream of messages
# before its transport has closed the pipe, and the transport's `stdout_reader` catches ClosedResourceError, but not the
# BrokenResourceError of a message that comes in between. A server of four lines that says something at that moment
# shows the same. Tolerated are this one error, from this one place, after everything was answered.
is_clients_own_race() {
    grep -q '^used' "$work/client" && grep -q 'in stdout_reader' "$work/client.err" &&
        [ "$(grep -cE '^[ |]*(anyio\.|mcp\.)?[A-Za-z.]*(Error|Exception)\b' "$work/client.err")" = 1 ] &&
        grep -qE '^[ |]*anyio.BrokenResourceError' "$work/client.err"
}
python_client() { # python_client NAME WHERE VERSION PROGRAM..
    local what=$1 where=$2 version=$3 status=0
    shift 3
    [ -x "$field/venv-mcp-$version/bin/python" ] || return 0
    timeout 120 "$field/venv-mcp-$version/bin/python" "$here/serve_client.py" "$where" everything__echo dead__any "$@" \
        >"$work/client" 2>"$work/client.err" || status=$?
    cat "$work/client"
    if [ $status != 0 ]; then
        if [[ $where = stdio && $version = 1.* ]] && is_clients_own_race; then
            passed "$what: ended by the race of its own reader, after everything was answered"
        else
            fail "$what: status $status: $(tail -n 40 "$work/client.err")"
            return
        fi
    elif grep -v '^ *$' "$work/client.err" | grep -v '^moored-mcp: ' | grep -qi 'warn\|error'; then
        fail "$what complains: $(head -n 3 "$work/client.err")"
    fi
    expect "$what: a call" 'called .*ahoy' "$work/client"
    expect "$what: the dead one's cause" 'dead .*not connected' "$work/client"
}
for version in 1.30.0 2.3.0; do
    echo "== Python $version"
    python_client "Python $version over HTTP" "$url" "$version"
    for token in wrong ""; do
        if TOKEN=$token timeout 60 "$field/venv-mcp-$version/bin/python" "$here/serve_client.py" "$url" everything__echo dead__any \
            >"$work/client" 2>"$work/client.err"; then
            fail "Python $version with the token '$token' was let in"
        elif grep -q '401\|Unauthorized' "$work/client.err"; then
            passed "Python $version with the token '$token': 401"
        else
            passed "Python $version with the token '$token': kept out ($(tail -n 1 "$work/client.err" | cut -c 1-80))"
        fi
    done
done

echo "== TypeScript"
typescript() {
    timeout 60 node "$here/serve_client.mjs" "$modules/@modelcontextprotocol/sdk" "$url" everything__echo dead__any >"$work/client" 2>&1
}
if typescript; then
    cat "$work/client"
    expect "TypeScript: a call" 'called .*ahoy' "$work/client"
    expect "TypeScript: the dead one's cause" 'dead .*not connected' "$work/client"
else
    fail "TypeScript: $(tail -n 5 "$work/client")"
fi
for token in wrong ""; do
    if TOKEN=$token typescript; then fail "TypeScript with the token '$token' was let in"; else expect "TypeScript with the token '$token'" '401\|Unauthorized' "$work/client"; fi
done

echo "== the doctor"
echo "{\"mcpServers\": {\"fleet\": {\"url\": \"$url\", \"headers\": {\"Authorization\": \"Bearer \${TOKEN}\"}}}}" >"$work/client.json"
timeout 90 "$gateway" doctor "$work/client.json" --json >"$work/client" 2>"$work/client.err" || fail "the doctor: $(cat "$work/client.err")"
expect "the doctor: left cleanly" '^  "clean": true' "$work/client"
TOKEN=wrong timeout 90 "$gateway" doctor "$work/client.json" --json >"$work/client" 2>/dev/null || true
expect "the doctor with a wrong token" '"auth_required"' "$work/client"

echo "== LiteLLM"
python=$field/venv-litellm/bin/python
if [ -x "$field/venv-litellm/bin/litellm" ]; then
    port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >"$work/litellm.yaml" <<YAML
model_list: []
general_settings:
  master_key: sk-moored
mcp_servers:
  fleet:
    url: $url
    transport: http
    auth_type: bearer_token
    auth_value: $TOKEN
    allow_all_keys: true
YAML
    (cd "$work" && exec env LITELLM_TELEMETRY=False LITELLM_LOCAL_MODEL_COST_MAP=True "$field/venv-litellm/bin/litellm" \
        --config "$work/litellm.yaml" --host 127.0.0.1 --port "$port") >"$work/litellm.log" 2>&1 &
    proxy=$!
    started+=("$proxy")
    until_true curl -sS -o /dev/null "http://127.0.0.1:$port/health/liveliness" || true
    curl -sS --max-time 60 "http://127.0.0.1:$port/mcp-rest/tools/list" -H 'Authorization: Bearer sk-moored' >"$work/answer" || true
    expect "LiteLLM: tools through its proxy" everything__echo "$work/answer"
    id=$(grep -o '"server_id":"[^"]*"' "$work/answer" | head -n 1 | cut -d'"' -f4)
    curl -sS --max-time 60 "http://127.0.0.1:$port/mcp-rest/tools/call" -H 'Authorization: Bearer sk-moored' \
        -H 'Content-Type: application/json' \
        -d '{"server_id": "'"$id"'", "name": "everything__echo", "arguments": {"message": "ahoy"}}' >"$work/answer" || true
    expect "LiteLLM: a call through its proxy" ahoy "$work/answer"
    echo "litellm: $(head -c 300 "$work/answer")"
    end "$proxy"
fi

echo "== leaving"
family=$(ps -o pid= --ppid "$pid" | wc -l)
# A call is under way: it is answered, one way or the other, and not waited for.
rpc tools/call ', "name": "everything__trigger-long-running-operation", "arguments": {"duration": 60, "steps": 60}' \
    -H 'Mcp-Name: everything__trigger-long-running-operation' >"$work/answer" 2>&1 &
call=$!
started+=("$call")
sleep 1
began=$(now)
kill -INT "$pid"
status=0
wait "$pid" || status=$?
took=$(($(now) - began))
wait "$call" 2>/dev/null || true
cat "$work/log"
echo "left $family children in $took ms, status $status"
if [ "$took" -lt 5500 ]; then passed "Ctrl-C leaves all within the budget: $took ms"; else fail "leaving took $took ms"; fi
expect "a call under way at Ctrl-C has an answer" 'the gateway is closing' "$work/answer"
expect "the report" '"version": 1' "$work/report.json"
if grep -qF "$TOKEN" "$work/log" "$work/report.json"; then fail "the token is in the log or the report"; else passed "the token is in no output"; fi
left=$(left_over)
if [ -z "$left" ]; then passed "nothing of it still runs"; else fail "it still runs: $left"; fi
# The last of the first outcomes.
slowest=$(grep -E ': (up|exited|unreachable|timed out)' "$work/log" | awk '!seen[$4]++ { print $1 }' | sort -n | tail -n 1)
if [ $((settled - slowest)) -lt 1000 ]; then
    passed "start-up: $settled ms beside the slowest server's $slowest ms"
else
    fail "start-up: $settled ms beside the slowest server's $slowest ms"
fi

echo "== stdio"
for version in 1.30.0 2.3.0; do
    python_client "Python $version over stdio" stdio "$version" "$gateway" serve "$work/fleet.json" --settle 60s --connect-timeout 60s
done

printf '\n'
printf '%s\n' "${rows[@]}"
echo "$failures failed"
[ "$failures" = 0 ]
