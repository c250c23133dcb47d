#!/usr/bin/env bash
# The doctor on its embedded fleet: the main job of `moored-mcp`, in one command, with its JSON checked.
#
# Three of the five servers are faulty on purpose; exit status 0 says that each was diagnosed as it was planted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --quiet -p moored-mcp
doctor=${CARGO_TARGET_DIR:-target}/debug/moored-mcp
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The human-readable output first, as a fresh clone shows it.
"$doctor" doctor | tee "$work/shown"
[ "$(tail -n 1 "$work/shown")" = "all 5 diagnoses are the planted ones" ] || { echo "the last line is another one"; exit 1; }

if ! command -v python3 >/dev/null; then
    echo "no python3 on this machine: the JSON is checked by mcp/tests/doctor.rs alone"
    exit 0
fi

# TMPDIR reaches every child process, so that processes that are left running can be found
# afterwards.
status=0
started=$(date +%s%N)
TMPDIR=$work "$doctor" doctor --json >"$work/report.json" 2>"$work/stderr" || status=$?
took_ms=$((($(date +%s%N) - started) / 1000000))

python3 - "$work" "$status" "$took_ms" <<'PYTHON'
import glob, json, os, sys

work, status, took_ms = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(f"{work}/report.json", encoding="utf-8") as file:
    report = json.load(file)
servers = {server["name"]: server for server in report["servers"]}
wrong = []


def check(what, found, expected):
    if found != expected:
        wrong.append(f"{what}: {found!r}, expected {expected!r}")


check("exit status", status, 0)
check("version", report["version"], 1)
check("clean", report["clean"], False)
check("stderr", open(f"{work}/stderr", encoding="utf-8").read(), "")
if took_ms >= 10_000:
    wrong.append(f"it took {took_ms} ms, ten seconds are promised")
if report["leave_ms"] > 5_200:
    wrong.append(f"leaving took {report['leave_ms']} ms, the budget is 5 s")

check(
    "servers",
    {name: (s["outcome"], s["leave"]["clean"], s["leave"]["delete"]) for name, s in servers.items()},
    {
        "healthy-http": ("ok", True, "terminated"),
        "healthy-stdio": ("ok", True, "not_applicable"),
        "refused": ("unreachable", True, "not_applicable"),
        "delete-hangs": ("ok", False, "timed_out"),
        "stubborn-child": ("ok", False, "not_applicable"),
    },
)
check("the true cause", servers["refused"]["error"]["chain"][-1], "Connection refused (os error 111)")
stubborn = servers["stubborn-child"]["leave"]
check("signals", stubborn["signals"], ["SIGTERM", "SIGKILL"])
check("its end", stubborn["exit_status"], {"signal": 9})
for name, server in servers.items():
    check(f"survivors of {name}", server["leave"]["survivors"], [])

mark = f"TMPDIR={work}".encode()
for environ in glob.glob("/proc/[0-9]*/environ"):
    try:
        with open(environ, "rb") as file:
            if int(environ.split("/")[2]) != os.getpid() and mark in file.read().split(b"\0"):
                wrong.append(f"still running: process {environ.split('/')[2]}")
    except OSError:
        pass  # it ended meanwhile, or is a zombie

if wrong:
    print(json.dumps(report, indent=2))
    sys.exit("\n".join(wrong))
print(f"the embedded fleet: {took_ms} ms, status 0, five servers as expected, nothing left running")
PYTHON
