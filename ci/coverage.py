"""Compares the lines that no test runs with ci/coverage.toml, where each such line has its reason.

    python3 ci/coverage.py LCOV      writes docs/proof/coverage.json from a report of `cargo llvm-cov report --lcov`
    python3 ci/coverage.py --check   checks that the lines with a reason are still in the sources: seconds, for the gate

Both fail if the line of a reason is gone; the first fails if a line that no test runs has no reason. Lines are identified
by their text, so that a change elsewhere in the file does not touch them. ci/deep.sh makes the report: its step `coverage`.
"""

import json
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REASONS = tomllib.loads((ROOT / "ci/coverage.toml").read_text())["not_run"]
ABOUT = (
    "With every feature, and again without `inspect` and `tracing`, where a region gets a node only when it needs one. "
    "Doc tests are not counted. The lines that are not run, by function:"
)


def texts(file):
    return [line.strip() for line in (ROOT / file).read_text().splitlines()]


def gone():
    """The lines that have a reason and are not in the sources."""
    return [f"{reason['file']}: {line}" for reason in REASONS for line in reason["lines"] if line not in texts(reason["file"])]


def counts(report):
    """How often each line with code was run, by file and number."""
    found, file = {}, None
    for line in Path(report).read_text().splitlines():
        kind, _, rest = line.partition(":")
        if kind == "SF":
            path = Path(rest)
            file = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT / "src") else None
        elif kind == "DA" and file:
            number, count = map(int, rest.split(",")[:2])
            found[file, number] = max(count, found.get((file, number), 0))
    return found


def function(file, number):
    """The name of the function that a line is in."""
    above = reversed(texts(file)[:number])
    return next((name.group(1) for name in (re.search(r"\bfn (\w+)", line) for line in above) if name), "no function")


def told(report):
    found = counts(report)
    missed = {}
    for (file, number), count in sorted(found.items()):
        text = texts(file)[number - 1]
        # A line that is only a bracket belongs to the one before it.
        if count == 0 and re.search(r"\w", text):
            missed.setdefault((file, text), []).append(function(file, number))
    # A text that stands there twice has to have its reason twice.
    excused = Counter((reason["file"], line) for reason in REASONS for line in reason["lines"])
    without = [f"{file}, {names[-1]}: {text}" for (file, text), names in missed.items() if len(names) > excused[file, text]]
    if without:
        sys.exit("\n  ".join(["no test runs these, and ci/coverage.toml has no reason:", *without]))
    not_run = []
    for reason in REASONS:
        names = [name for line in reason["lines"] for name in missed.get((reason["file"], line), [])]
        if names:
            lines = ", ".join(f"`{name}`" for name in dict.fromkeys(names))
            not_run.append({"file": reason["file"], "lines": lines, "why": reason["why"]})
        else:
            print(f"run this time: {reason['file']}: {reason['lines'][0]}")
    run = sum(count > 0 for count in found.values())
    return {"command": "bash ci/deep.sh coverage", "lines": len(found), "lines_run": run, "about": ABOUT, "not_run": not_run}


def main(words):
    if gone():
        sys.exit("\n  ".join(["in ci/coverage.toml, but not in the sources:", *gone()]))
    if words != ["--check"]:
        (ROOT / "docs/proof/coverage.json").write_text(json.dumps(told(words[0]), indent=1) + "\n")


main(sys.argv[1:])
