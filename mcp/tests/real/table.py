"""The rows of a report of `moored-mcp doctor --json`.

    table.py REPORT MANIFEST [FLEET]

MANIFEST has a line for each server of the report: its name, package, version and launcher, separated by tabs. Prints a
row for each: package, version, launcher, transport, era, outcome, milliseconds to connect, and the fleet it was in. Ends
with status 1 if a server did not come up, or was not left cleanly, and says which.
"""

import json
import sys


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        report = json.load(file)
    known = {}
    with open(sys.argv[2], encoding="utf-8") as file:
        for line in file:
            name, *rest = line.rstrip("\n").split("\t")
            known[name] = rest
    fleet = sys.argv[3] if len(sys.argv) > 3 else ""
    failed = 0
    for server in report["servers"]:
        package, version, launcher = known[server["name"]]
        outcome = server["outcome"]
        left = server.get("leave") or {}
        if outcome == "ok" and not left.get("clean"):
            outcome = "left unclean"
        if outcome != "ok":
            failed += 1
            error = server.get("error") or {}
            print(f"{server['name']}: {outcome}: {error.get('chain')} {left.get('suppressed')}", file=sys.stderr)
        took = str(server.get("connect_ms", ""))
        row = [package, version, launcher, server["transport"], server.get("era") or "-", outcome, took, fleet]
        print("\t".join(row))
    return 1 if failed else 0


sys.exit(main())
