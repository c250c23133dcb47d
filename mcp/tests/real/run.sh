#!/usr/bin/env bash
# The doctor and `call` against servers that nobody here wrote, over the launchers that people use: npx, node, uvx,
# `python -m`, `sh -c`, bridges in both directions, streamable HTTP; twelve of them at once on a loaded machine; and all
# client scenarios of npm's conformance suite, its newest release and what comes after it.
#
#     [BUSY=2] [FIELD=DIR] bash mcp/tests/real/run.sh [BINARY]
#
# Without BINARY the program is built. The packages are loaded with npm and uv, and kept in FIELD if it is set. BUSY is the
# number of busy loops that run while the twelve start. What is missing is skipped with a word; 0 means that nothing failed.
# Two tables at the end tell all: a row for each launch of a server, and one for each check.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
bounded "${LIMIT:-45m}" "$@"
doctor=$(program "$@")

# The fleet that is put together: the entries of its configuration, and what table.py needs to know of each.
entries=()
manifest=$work/manifest.tsv
# server NAME PACKAGE VERSION LAUNCHER ENTRY
server() {
    entries+=("\"$1\": $5")
    printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$manifest"
}
new_fleet() {
    entries=()
    : >"$manifest"
}
# command PROGRAM [ARGUMENT ..]: an entry. The environment is an object in $env.
env='{}'
command_entry() {
    python3 -c 'import json, sys; print(json.dumps({"command": sys.argv[2], "args": sys.argv[3:], "env": json.loads(sys.argv[1])}))' \
        "$env" "$@"
}
offline='{"UV_OFFLINE": "1", "UV_CACHE_DIR": "'$field'/uvcache", "npm_config_offline": "true", "npm_config_cache": "'$field'/npmcache"}'

table=$work/table.tsv
: >"$table"
# fleet WHAT [ARGUMENT ..]: examines the fleet, once for the table and the checks.
fleet() {
    local what=$1 config=$work/fleet.json began status=0 rows_failed=0
    shift
    (IFS=,; echo "{\"mcpServers\": {${entries[*]}}}") >"$config"
    echo
    echo "== $what: ${#entries[@]} servers"
    began=$(now)
    timeout 400 "$doctor" doctor "$config" --json "$@" >"$work/report.json" 2>"$work/doctor.err" || status=$?
    python3 "$here/table.py" "$work/report.json" "$manifest" "$what" >"$work/rows" 2>"$work/why" || rows_failed=$?
    cat "$work/rows" >>"$table"
    cut -f 1-7 "$work/rows" | column -t -s $'\t' 2>/dev/null || cat "$work/rows"
    if [ $status = 0 ] && [ $rows_failed = 0 ]; then
        passed "$what: ${#entries[@]} servers came up and were left cleanly, in $(($(now) - began)) ms"
    else
        fail "$what: status $status: $(cat "$work/why" "$work/doctor.err")"
    fi
}

# How many servers of the last report have a line.
count() { grep -c "$1" "$work/report.json" || true; }

# call_back WHAT SERVER/TOOL JSON PATTERN: calls a tool of the last fleet and expects a word in the answer.
call_back() {
    local what=$1 answer
    answer=$(timeout 120 "$doctor" call "$work/fleet.json" "$2" "$3" --timeout 60s 2>"$work/call.err") || {
        fail "$what: call $2: status $?: $(cat "$work/call.err")"
        return
    }
    if grep -q -- "$4" <<<"$answer"; then passed "$what: call $2"; else fail "$what: call $2: no '$4' in $answer"; fi
}

# http NAME COMMAND ..: starts a server that listens on a loopback port of the kernel's choice. Sets `url` and `port`.
# Node servers are preloaded, because several of them listen on all interfaces and on a port of their own choice.
http() {
    local name=$1
    shift
    rm -f "$work/$name.port"
    # A server may listen for readers of its metrics as well, before it listens for clients.
    OTEL_SDK_DISABLED=true PORT=0 PORT_FILE=$work/$name.port NODE_OPTIONS="--require $here/loopback.cjs" "$@" >"$work/$name.log" 2>&1 </dev/null &
    started+=($!)
    until_true test -s "$work/$name.port" || {
        fail "$name did not listen: $(tail -n 5 "$work/$name.log")"
        return 1
    }
    port=$(cat "$work/$name.port")
    url=http://127.0.0.1:$port/mcp
}

everything=2026.8.31
npm_servers=(
    "@modelcontextprotocol/server-everything@$everything" @modelcontextprotocol/server-filesystem@2026.8.31
    @modelcontextprotocol/server-memory@2026.8.31 @modelcontextprotocol/server-sequential-thinking@2026.8.31
    @playwright/mcp@0.0.83 @upstash/context7-mcp@4.1.1 @notionhq/notion-mcp-server@2.5.2 mcp-server-commands@0.5.0
    chrome-devtools-mcp@1.11.0 @eslint/mcp@0.3.13 tavily-mcp@0.2.22 figma-developer-mcp@0.13.2
    mcp-remote@0.15.1 supergateway@4.0.0
)
uvx_servers=(
    mcp-server-time=2026.10.19 mcp-server-fetch=2026.10.24 excel-mcp-server=2.2.2
    duckduckgo-mcp-server=0.7.0 mcp-simple-timeserver=3.3.2 mcp-proxy=0.13.0
)
# Each in an environment of its own, because they want different versions of the SDK.
python_modules=(mcp-server-git=2026.10.19 mcp-server-calculator=0.2.1 wikipedia-mcp=2.0.1)

install() {
    local server
    echo "== loading packages into $field"
    have_npm || { skipped "servers from npm: there is no npm on this machine" && return 1; }
    npm_install "${npm_servers[@]}" || { skipped "servers from npm: $(tail -n 1 "$work/npm.log")" && return 1; }
    # What npx itself loads, so that a launch does not.
    npm_config_cache=$field/npmcache timeout 300 npx --yes --package "@modelcontextprotocol/server-sequential-thinking@2026.8.31" true \
        >"$work/npm.log" 2>&1 || { skipped "npx: $(tail -n 1 "$work/npm.log")" && return 1; }
    command -v python3 >/dev/null && uv_install || { skipped "servers from PyPI: no Python, or no uv" && return 1; }
    timeout 300 "$uvx" --quiet --with mcp==1.30.0 --from mcp-server-sqlite==2025.4.25 python -c '' >"$work/uv.log" 2>&1 </dev/null ||
        { skipped "mcp-server-sqlite: $(tail -n 1 "$work/uv.log")" && return 1; }
    for server in "${uvx_servers[@]}"; do
        uvx_install "${server%=*}" "${server#*=}" || { skipped "$server: $(tail -n 1 "$work/uv.log")" && return 1; }
    done
    for server in "${python_modules[@]}" mcp=1.30.0 mcp=2.3.0; do
        venv "${server/=/-}" "${server/=/==}" || { skipped "$server: $(tail -n 1 "$work/uv.log")" && return 1; }
    done
}

# uvx_server NAME PACKAGE VERSION [ARGUMENT ..]
uvx_server() {
    local name=$1 package=$2 version=$3
    shift 3
    server "$name" "$package" "$version" uvx "$(env=$offline command_entry "$uvx" "$package@$version" "$@")"
}

# Twelve at once, in front of a loaded machine.
twelve() {
    local bin=$modules/.bin
    new_fleet
    mkdir -p "$work/files"
    git init --quiet "$work/repo"
    server everything @modelcontextprotocol/server-everything $everything npx \
        "$(command_entry npx --prefix "$field/npm" mcp-server-everything stdio)"
    server thinking @modelcontextprotocol/server-sequential-thinking 2026.8.31 "npx -y" \
        "$(env=$offline command_entry npx -y @modelcontextprotocol/server-sequential-thinking@2026.8.31)"
    server playwright @playwright/mcp 0.0.83 npx "$(command_entry npx --prefix "$field/npm" playwright-mcp)"
    server context7 @upstash/context7-mcp 4.1.1 npx "$(command_entry npx --prefix "$field/npm" context7-mcp)"
    server files @modelcontextprotocol/server-filesystem 2026.8.31 node \
        "$(command_entry node "$modules/@modelcontextprotocol/server-filesystem/dist/index.js" "$work/files")"
    server notion @notionhq/notion-mcp-server 2.5.2 "bin" \
        "$(env='{"NOTION_TOKEN": "ntn_none"}' command_entry "$bin/notion-mcp-server")"
    server memory @modelcontextprotocol/server-memory 2026.8.31 "sh -c" "$(command_entry sh -c "$bin/mcp-server-memory")"
    server commands mcp-server-commands 0.5.0 "sh -c, a pipe" "$(command_entry sh -c "$bin/mcp-server-commands | cat")"
    uvx_server time mcp-server-time 2026.10.19
    uvx_server fetch mcp-server-fetch 2026.10.24
    server git mcp-server-git 2026.10.19 "python -m" "$(command_entry "$field/venv-mcp-server-git-2026.10.19/bin/python" -m mcp_server_git --repository "$work/repo")"
    server calculator mcp-server-calculator 0.2.1 "python -m" "$(command_entry "$field/venv-mcp-server-calculator-0.2.1/bin/python" -m mcp_server_calculator)"
    load "${BUSY:-2}"
    fleet "twelve at once, ${BUSY:-2} busy loops" --connect-timeout "${CONNECT_TIMEOUT:-90s}"
    idle
    call_back npx everything/echo '{"message": "ahoy from moored"}' 'ahoy from moored'
    call_back node files/write_file "{\"path\": \"$work/files/a\", \"content\": \"ahoy\"}" "$work/files/a"
    call_back "python -m" calculator/calculate '{"expression": "6*7"}' 42
    call_back uvx time/get_current_time '{"timezone": "Etc/UTC"}' UTC
}

# The rest of the stdio servers, as their users start them.
more_stdio() {
    local bin=$modules/.bin version
    new_fleet
    # Published for the SDK's first version, without saying so.
    server sqlite mcp-server-sqlite 2025.4.25 "uvx --with" "$(env=$offline command_entry "$uvx" --with mcp==1.30.0 \
        mcp-server-sqlite@2025.4.25 --db-path "$work/test.db")"
    uvx_server excel excel-mcp-server 2.2.2 stdio
    uvx_server search duckduckgo-mcp-server 0.7.0
    uvx_server clock mcp-simple-timeserver 3.3.2
    server wikipedia wikipedia-mcp 2.0.1 "python -m" \
        "$(command_entry "$field/venv-wikipedia-mcp-2.0.1/bin/python" -m wikipedia_mcp)"
    server chrome chrome-devtools-mcp 1.11.0 npx "$(command_entry npx --prefix "$field/npm" chrome-devtools-mcp)"
    server eslint @eslint/mcp 0.3.13 node "$(command_entry node "$modules/@eslint/mcp/src/mcp-cli.js")"
    server tavily tavily-mcp 0.2.22 bin "$(env='{"TAVILY_API_KEY": "none"}' command_entry "$bin/tavily-mcp")"
    server figma figma-developer-mcp 0.13.2 "sh -c" "$(command_entry sh -c "exec '$bin/figma-developer-mcp' --stdio --figma-api-key=none")"
    for version in 1.30.0 2.3.0; do
        server "python-$version" mcp $version python "$(command_entry "$field/venv-mcp-$version/bin/python" "$here/echo_server.py" stdio)"
    done
    fleet "stdio" --connect-timeout "${CONNECT_TIMEOUT:-90s}"
    [ "$(count '"era": "2026-07-28"')" -ge 1 ] || fail "stdio: no server of the era 2026-07-28"
    call_back uvx sqlite/list_tables '{}' 'content'
    call_back python python-1.30.0/echo '{"message": "ahoy"}' 'Echo: ahoy'
    call_back python python-2.3.0/echo '{"message": "ahoy"}' 'Echo: ahoy'
}

# Servers behind streamable HTTP, and bridges between the transports, in both directions.
over_http() {
    local program=$modules/@modelcontextprotocol/server-everything/dist/index.js bin=$modules/.bin version begun ended url port
    new_fleet
    http everything node "$program" streamableHttp || return 0
    local everything_url=$url
    server everything @modelcontextprotocol/server-everything $everything "HTTP, node" "{\"url\": \"$url\"}"
    http context7 node "$modules/@upstash/context7-mcp/dist/index.js" --transport http --port 0 &&
        server context7 @upstash/context7-mcp 4.1.1 "HTTP, node" "{\"type\": \"http\", \"url\": \"$url\"}"
    http supergateway node "$modules/supergateway/dist/index.js" --stdio "$bin/mcp-server-memory" \
        --outputTransport streamableHttp --stateful --port 0 &&
        server supergateway supergateway 4.0.0 "HTTP, bridge to stdio" "{\"url\": \"$url\"}"
    server mcp-remote mcp-remote 0.15.1 "bridge to HTTP" \
        "$(command_entry node "$bin/mcp-remote" "$everything_url" --allow-http --transport http-only)"
    server mcp-proxy mcp-proxy 0.13.0 "uvx, bridge to HTTP" \
        "$(env=$offline command_entry "$uvx" mcp-proxy@0.13.0 --transport streamablehttp "$everything_url")"
    # It begins a session of its own at the first message, whatever that is, so it is started twice: it rejects the handshake
    # after the probe.
    server supergateway-in supergateway 4.0.0 "npx, bridge to HTTP" \
        "$(command_entry npx --prefix "$field/npm" supergateway --streamableHttp "$everything_url")"
    for version in 1.30.0 2.3.0; do
        local log=$work/python-$version.log
        PYTHONUNBUFFERED=1 "$field/venv-mcp-$version/bin/python" "$here/echo_server.py" http >"$log" 2>&1 </dev/null &
        started+=($!)
        until_true grep -q 'running on http://127.0.0.1:' "$log" || {
            fail "Python mcp $version did not listen: $(tail -n 3 "$log")"
            continue
        }
        port=$(sed -n 's|.*running on http://127.0.0.1:\([0-9]*\).*|\1|p' "$log")
        server "python-$version" mcp $version "HTTP, python" "{\"url\": \"http://127.0.0.1:$port/mcp\"}"
    done
    fleet "HTTP and bridges" --connect-timeout "${CONNECT_TIMEOUT:-90s}"
    for version in everything mcp-remote mcp-proxy supergateway-in; do
        call_back "$version" $version/echo '{"message": "ahoy from moored"}' 'ahoy from moored'
    done
    call_back supergateway supergateway/read_graph '{}' entities
    for version in 1.30.0 2.3.0; do call_back "Python mcp $version" "python-$version/echo" '{"message": "ahoy"}' 'Echo: ahoy'; done

    # The server's own log: every session of ours was ended by a DELETE. (A bridge may leave its own without one.)
    sed -n 's/^Session initialized with ID: //p' "$work/everything.log" | sort >"$work/begun"
    sed -n 's/^Received session termination request for session //p' "$work/everything.log" | sort >"$work/ended"
    echo "server-everything's log: $(wc -l <"$work/begun") sessions begun, $(wc -l <"$work/ended") ended by DELETE"
    [ "$(count '"delete": "terminated"')" -ge 2 ] || fail "HTTP: sessions were not ended by DELETE"
    # Every `initialized` is a session of ours. The second version speaks the era without sessions: it has none to end.
    for version in 1.30.0 2.3.0; do
        begun=$(grep -c '"POST /mcp HTTP/1.1" 202' "$work/python-$version.log" || true)
        ended=$(grep -c '"DELETE /mcp HTTP/1.1" 200' "$work/python-$version.log" || true)
        local expected=0
        [[ $version != 1.* ]] || expected=2
        if [ "$begun" = $expected ] && [ "$ended" = $expected ]; then
            passed "Python mcp $version over HTTP: $begun sessions begun, $ended ended by DELETE"
        else
            fail "Python mcp $version over HTTP: $expected sessions were expected, $begun begun, $ended ended"
        fi
        sed -n 's/^Created new transport with session ID: //p' "$work/python-$version.log" | sort >"$work/begun"
        sed -n 's/^Terminating session: //p' "$work/python-$version.log" | sort >"$work/ended"
        if diff "$work/begun" "$work/ended"; then
            passed "Python mcp $version over HTTP: no transport is left in the server"
        else
            fail "Python mcp $version over HTTP: the server still has a transport"
        fi
    done
}

# The client of a scenario: the program itself, or the example, which answers and authorises and so shows the library.
scenario_client() {
    local example=$work/example
    case $1 in
    initialize) echo "$doctor doctor --url" ;;
    tools_call) echo "$doctor call add_numbers '{\"a\": 5, \"b\": 3}' --url" ;;
    sse-retry) echo "$doctor call test_reconnection '{}' --timeout 30s --url" ;;
    *) [ ! -x "$example" ] || echo "$example" ;;
    esac
}
# Why a scenario does not apply: not_applied SCENARIO VERSION
not_applied() {
    case "$1 $2" in
    "auth/2025-03-26-oauth-metadata-backcompat 0.1.16")
        echo "authorisation by the revision 2025-03-26, without the metadata of the resource: rmcp's support does not have it" ;;
    auth/cross-app-access-complete-flow* | auth/enterprise-managed-authorization*)
        echo "an extension: a token exchanged between two identity providers; rmcp's support does not have it" ;;
    auth/dpop*)
        echo "an extension: tokens bound to a key (RFC 9449); rmcp's support does not have it" ;;
    auth/wif-jwt-bearer*)
        echo "an extension: a token for the identity of a workload; rmcp's support does not have it" ;;
    esac
}
# The newest release of the suite, and the newest of those before a release, which has the scenarios of 2026-07-28.
conformance_versions=(0.1.16 0.2.0-alpha.12)
# conformance VERSION
conformance() {
    local version=$1 home=$field/conformance-$1 scenario client why began
    local node=$home/node_modules/.bin/node suite=$home/node_modules/.bin/conformance
    echo
    echo "== npm's conformance suite $version, client mode"
    # It wants Node 22, which npm has as a package.
    timeout 600 npm install --prefix "$home" --no-audit --no-fund --silent "@modelcontextprotocol/conformance@$version" node@22 \
        >"$work/npm.log" 2>&1 || { skipped "conformance $version: $(tail -n 1 "$work/npm.log")" && return 0; }
    "$node" --version >/dev/null 2>&1 || { skipped "conformance $version: the Node of npm does not run here" && return 0; }
    timeout 60 "$node" "$suite" list >"$work/list" 2>&1 || true
    sed -n '/^Client scenarios/,/^$/ s/^  - \([^ ]*\).*/\1/p' "$work/list" >"$work/scenarios"
    [ "$(wc -l <"$work/scenarios")" -ge 20 ] || { fail "conformance $version: no list of scenarios: $(cat "$work/list")" && return 0; }
    while read -r scenario <&3; do
        why=$(not_applied "$scenario" "$version")
        [ -z "$why" ] || { rows+=("left out conformance $version $scenario: $why") && continue; }
        client=$(scenario_client "$scenario")
        [ -n "$client" ] || { skipped "conformance $version $scenario: its client does not build here" && continue; }
        printf '#!/bin/sh\nexec %s "$1"\n' "$client" >"$work/client"
        chmod +x "$work/client"
        began=$(now)
        if (cd "$work" && timeout 180 "$node" --require "$here/loopback.cjs" "$suite" \
            client --command "$work/client" --scenario "$scenario" --timeout 120000) >"$work/conformance.log" 2>&1 </dev/null &&
            grep -q 'OVERALL: PASSED' "$work/conformance.log"; then
            passed "conformance $version $scenario: $(($(now) - began)) ms"
        else
            tail -n 30 "$work/conformance.log"
            fail "conformance $version $scenario"
        fi
    done 3<"$work/scenarios"
}
# Builds the client of most scenarios.
build_example() {
    if (cd "$root" && timeout 900 cargo build --quiet -p moored-mcp --features auth --example conformance) 2>"$work/cargo.log"; then
        cp "${CARGO_TARGET_DIR:-$root/target}/debug/examples/conformance" "$work/example"
    fi
}

if install; then
    twelve
    more_stdio
    over_http
fi
if have_npm; then
    build_example
    for version in "${conformance_versions[@]}"; do conformance "$version"; done
else
    skipped "conformance: there is no npm on this machine"
fi
[ ${#started[@]} = 0 ] || end "${started[@]}"
started=()
left=$(left_over)
if [ -z "$left" ]; then passed "nothing of it still runs"; else fail "it still runs: $left"; fi

echo
echo "== every launch"
(printf 'server\tversion\tlauncher\ttransport\tera\toutcome\tms\tfleet\n' && cat "$table") | column -t -s $'\t' 2>/dev/null || cat "$table"
echo "$(cut -f 1 "$table" | sort -u | wc -l) published packages in $(wc -l <"$table") launches"
echo
echo "== every check"
printf '%s\n' "${rows[@]}"
if [ $failures -gt 0 ]; then
    echo "$failures checks failed"
    exit 1
fi
echo "nothing that was there failed"
