#!/usr/bin/env python3
"""Makes docs/benchmarks.md and its plots out of the results of the benches. Every figure of the page comes from here.

    python3 benches/page.py [RESULTS]    RESULTS: where the *.jsonl are; target/bench by default

A row of results: target, question, n, contender, ours, and one of
  ns [..]                 nanoseconds of one item, round by round; contenders of a question took turns, round by round
  allocations, bytes      of one item, from a build that counts
  value, unit             a figure that is neither
  too_slow_with           left out, because it took too long with that smaller n
"""

import glob
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys

from plot import plot

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TITLES = {
    "scope": "Scopes and time-outs", "check": "Am I cancelled?", "poll": "A guard, per poll",
    "request": "Bodies that wait once", "adopted": "Adopted exits", "wait": "Waiting for a cancellation", "cancel": "Cancelling", "children": "Children in the task",
    "executor": "Children on an executor", "exits": "Exits", "owner": "The owner check",
    "teardown": "The end of a group", "contention": "Two threads", "memory": "Memory", "further": "A further call in a user's program", "mcp": "MCP sessions",
    "python": "A footnote: Python",
}  # fmt: skip


class Row:
    """The results of a contender in a question at one size."""

    def __init__(self, target):
        self.target = target
        self.ns, self.allocations, self.bytes, self.value, self.unit, self.slow = [], None, None, None, "", None
        self.least = False

    def add(self, row):
        self.ns = [ns for ns in row.get("ns", self.ns) if isinstance(ns, (int, float))]
        self.least = row.get("statistic") == "least" or self.least
        self.slow = row.get("too_slow_with", self.slow)
        for name in ("allocations", "bytes", "value", "unit"):
            setattr(self, name, row.get(name, getattr(self, name)))

    def figure(self):
        if not self.ns:
            return self.value
        return min(self.ns) if self.least else statistics.median(self.ns)


def read(results):
    """Question to size to contender, in the order in which they were asked; the counted paths; operations to their growth."""
    questions, paths, operations = {}, {}, {}
    order = {target: i for i, target in enumerate(TITLES)}
    files = sorted(glob.glob(os.path.join(results, "*.jsonl")))
    files.sort(key=lambda file: order.get(re.split(r"[.-]", os.path.basename(file))[0], 99))
    for file in files:
        for line in open(file):
            # NaN: a round that two threads did not share.
            row = json.loads(re.sub(r"\bNaN\b", "null", line))
            if row["target"] == "counts":
                paths[row["path"]] = row
                continue
            if row["target"] == "growth":
                operations[row["operation"]] = row["points"]
                continue
            sizes = questions.setdefault(row["question"], {})
            who = sizes.setdefault(int(row["n"]), {}).setdefault(row["contender"], Row(row["target"]))
            who.add(row)
    return questions, paths, operations


def ratio(ours, peer):
    """Median and quartiles of ours divided by the peer's: round by round where they took turns."""
    if ours.least or not ours.ns or not peer.ns:
        return (ours.figure() / peer.figure(),) * 3 if ours.figure() and peer.figure() else None
    pairs = sorted(a / b for a, b in zip(ours.ns, peer.ns))
    at = lambda share: pairs[round((len(pairs) - 1) * share)]
    return at(0.5), at(0.25), at(0.75)


def name_of(contender):
    """As text of a table: a type's `<` would begin a tag."""
    return contender.replace("<", "&lt;")


def short(number):
    if number is None:
        return ""
    if number >= 10_000:
        return f"{number:,.0f}"
    return f"{number:.3g}" if number < 1_000 else f"{number:,.0f}"


def shown(found):
    return f"{short(found[0])} ({short(found[1])} to {short(found[2])})" if found else ""


def named(contenders, start):
    """The contender whose name is, or else begins with, `start`."""
    if start in contenders:
        return start
    return next((name for name in contenders if name.startswith(start)), None)


def targets_table(questions):
    lines = ["| operation | against | n | to reach | measured (quartiles) | | the floor |", "|---|---|--:|--:|--:|---|--:|"]
    for line in open(os.path.join(HERE, "targets.tsv")):
        if line.startswith("#"):
            continue
        what, question, sizes, ours, peer, bound, unit, *floor = line.rstrip("\n").split("\t")
        for n in map(int, sizes.split(",")):
            asked = questions.get(question, {})
            contenders = asked.get(n, {})
            us, them = named(contenders, ours), named(contenders, peer) if peer else ""
            least = named(contenders, (floor or ["floor: "])[0])
            found, text = None, "not measured"
            if us and them is not None:
                found, text = bounded(asked, contenders, us, them, unit)
            verdict = "" if found is None else "reached" if found <= float(bound) else "not reached"
            to_reach = bound if unit == "ratio" else f"{bound} {unit}"
            sketch = bounded(asked, contenders, least, them, unit)[0] if least and them is not None else None
            cells = [what, name_of(peer), f"{n:,}", to_reach, text, verdict, short(sketch)]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def bounded(asked, contenders, us, them, unit):
    """What is held against a bound, and its text: of one row of a question."""
    row = contenders[us]
    theirs = f", theirs {short(contenders[them].value)} {unit}" if them else ""
    if unit == "allocations":
        return row.allocations, f"{short(row.allocations)} allocations" if row.allocations is not None else "not counted"
    if unit in ("B", "s"):
        return row.value, f"{short(row.value)} {unit}{theirs}"
    if unit == "ns":
        return row.figure(), f"{short(row.figure())} ns"
    if row.slow:
        return math.inf, f"too slow with n = {row.slow:,.0f}"
    if unit == "times":
        first = min(asked)
        found = row.figure() and asked[first][us].figure() and row.figure() / asked[first][us].figure()
        return found or None, f"{short(found)} times n = {first:,}" if found else "not measured"
    found = ratio(row, contenders[them])
    return (found and found[0]), shown(found) or "not measured"


def question_table(sizes):
    timed = any(row.ns or row.slow for contenders in sizes.values() for row in contenders.values())
    if not timed:
        return figures_table(sizes)
    lines = ["| n | contender | ns | ours/this (quartiles) | allocations | bytes |", "|--:|---|--:|--:|--:|--:|"]
    for n, contenders in sizes.items():
        us = next((name for name in contenders if name.startswith("moored")), None)
        for name, row in contenders.items():
            if row.slow:
                lines.append(f"| {n:,} | {name_of(name)} | too slow with n = {row.slow:,.0f} | | | |")
                continue
            found = ratio(contenders[us], row) if us and name != us else None
            allocations = "" if row.allocations is None else f"{row.allocations:.2f}"
            size = "" if row.bytes is None else f"{row.bytes:,.0f}"
            lines.append(f"| {n:,} | {name_of(name)} | {short(row.figure())} | {shown(found)} | {allocations} | {size} |")
    return lines


def figures_table(sizes):
    lines = ["| n | contender | |", "|--:|---|--:|"]
    for n, contenders in sizes.items():
        for name, row in contenders.items():
            lines.append(f"| {n:,} | {name_of(name)} | {short(row.value)} {row.unit} |")
    return lines


def series(sizes):
    """Contender to its figures, of those that were asked at three sizes or more."""
    found = {}
    for n, contenders in sizes.items():
        for name, row in contenders.items():
            if row.figure():
                found.setdefault(name, []).append((n, row.figure()))
    return {name: sorted(points) for name, points in found.items() if len(points) >= 3}


def exponent(points):
    """The slope in a plot of logarithms; without n = 1, where the fixed costs are the whole figure."""
    points = [point for point in points if point[0] > 1] if len(points) > 3 else points
    x, y = zip(*((math.log(n), math.log(figure)) for n, figure in points))
    return statistics.linear_regression(x, y).slope


def growth_table(questions):
    lines = ["| question | n | ours | | others |", "|---|---|---|--:|---|"]
    for question, sizes in questions.items():
        found = {name: exponent(points) for name, points in series(sizes).items()}
        brief = lambda name: name_of(re.sub(r" \(.*\)", "", name))
        others = "; ".join(f"{brief(name)} {slope:.2f}" for name, slope in found.items() if not is_ours(name))
        span = f"{min(sizes):,} to {max(sizes):,}"
        for name in filter(is_ours, found):
            lines.append(f"| {question} | {span} | {name} | {found[name]:.2f} | {others} |")
            others = ""
    return lines


def is_ours(name):
    return name.startswith("moored")


def operations_table(operations):
    sizes = sorted({n for points in operations.values() for n, _ in points})
    lines = [
        f"| operation | exponent | {' | '.join(f'n = {n:,}' for n in sizes)} |",
        f"|---|--:|{'--:|' * len(sizes)}",
    ]
    for name, points in operations.items():
        slope = exponent([(n, max(total, 1)) for n, total in points]) if len(points) > 1 else math.inf
        cells = [f"{total / n:,.0f}" for n, total in points] + ["too slow"] * (len(sizes) - len(points))
        lines.append(f"| {name.replace('_', ' ')} | {slope:.2f} | {' | '.join(cells)} |")
    return lines


def counts_table(paths):
    lines = [
        "| path | instructions | to reach | the floor | peer's | ours/peer's | allocations | to reach | the floor | peer's |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    pins = (line.rstrip("\n").split("\t") for line in open(os.path.join(HERE, "counts.tsv")) if line[0] != "#")
    to_reach = {cells[0]: ["" if cell == "-" else cell for cell in cells[3:5]] for cells in pins}
    cell = lambda row, key, form: format(row[key], form) if row and key in row else ""
    for name, row in paths.items():
        if name.startswith(("peer_", "floor_")):
            continue
        floor, peer = paths.get("floor_" + name), paths.get("peer_" + name)
        both = peer and "instructions" in row and "instructions" in peer and peer["instructions"]
        times = f"{row['instructions'] / peer['instructions']:.2f}" if both else ""
        ours, least, theirs = [cell(of, "instructions", ",.0f") for of in (row, floor, peer)]
        allocations = [cell(of, "allocations", ".2f") for of in (row, floor, peer)]
        targets = to_reach.get(name, ["", ""])
        cells = [ours or "too slow to count", targets[0], least, theirs, times]
        cells += [allocations[0], targets[1], *allocations[1:]]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return lines


def machine():
    info = open("/proc/cpuinfo").read() if os.path.exists("/proc/cpuinfo") else ""
    model = re.search(r"model name\s*: (.*)", info)
    rustc = subprocess.run(["rustc", "-V"], capture_output=True, text=True).stdout.strip()
    parts = [model.group(1) if model else platform.machine(), f"{os.cpu_count()} processors", platform.system(), rustc]
    return "; ".join(part for part in parts if part)


def page(questions, paths, operations, plots):
    text = open(os.path.join(HERE, "page.md")).read()
    sections, last = [], None
    for question, sizes in questions.items():
        target = next(iter(next(iter(sizes.values())).values())).target
        if target != last:
            sections += ["", f"## {TITLES.get(target, target)}"]
            last = target
        sections += ["", f"### {question[0].upper()}{question[1:]}", ""]
        if question in plots:
            sections += [f"![{question}](benchmarks/{plots[question]})", ""]
        sections += question_table(sizes)
    filled = {
        "machine": [machine()], "targets": targets_table(questions), "growth": growth_table(questions),
        "operations": operations_table(operations) if operations else ["Not counted in this run."],
        "counts": counts_table(paths) if paths else ["Not counted in this run."], "questions": sections,
    }  # fmt: skip
    return re.sub(r"\{\{(\w+)\}\}", lambda match: "\n".join(filled[match.group(1)]).strip("\n"), text)


def main():
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    results = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("BENCH_RESULTS", os.path.join(target, "bench"))
    questions, paths, operations = read(results)
    if not questions:
        sys.exit(f"{results}: no results; bash ci/bench.sh run makes them")
    directory = os.path.join(ROOT, "docs", "benchmarks")
    os.makedirs(directory, exist_ok=True)
    for old in glob.glob(os.path.join(directory, "*.svg")):
        os.remove(old)
    plots = {}
    for question, sizes in questions.items():
        if lines := series(sizes):
            plots[question] = re.sub(r"\W+", "-", question.lower()).strip("-") + ".svg"
            with open(os.path.join(directory, plots[question]), "w") as file:
                file.write(plot(question, lines))
    with open(os.path.join(ROOT, "docs", "benchmarks.md"), "w") as file:
        file.write(page(questions, paths, operations, plots))
    print(f"docs/benchmarks.md: {len(questions)} questions, {len(plots)} plots")


main()
