#!/usr/bin/env python3
"""Counts instructions and allocations of the hot paths under callgrind, and holds them against benches/counts.tsv.

    counts.py check PLAIN COUNTING    fails where a path of ours grew by more than 3 % and its pin did not
    counts.py pin PLAIN COUNTING      measures everything, peers too, and writes the pins
    counts.py all PLAIN COUNTING      measures everything and writes no pin
    counts.py inspect PLAIN INSPECT   prints what the feature `inspect` costs where it is on
    counts.py growth PLAIN INSPECT [WORD]   fits the growth of whole operations, of all or of those with a word in the name

The binary `counts` is built twice: with the feature `count`, which counts allocations, and without, for the instructions;
or with the feature `inspect` and without.
Unlike times, counts are repeatable on a busy machine. `pin` and `all` write rows for benches/page.py.
"""

import concurrent.futures
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PINS = os.path.join(HERE, "counts.tsv")
GROWTH = 1.03
PER_ITEM = 1.2
# Allocations are whole numbers, except for lists that grow now and then: a tenth of an allocation is a change.
LOOSE = 0.1
# A path that needs longer is one that does not scale: it is pinned as that, and gets less time to prove it again.
SECONDS, AGAIN = 30, 5
SIZES = [100, 1_000, 10_000, 100_000]
# The exponent of a whole operation in the number of its items: 1 is linear.
EXPONENT = 1.1
# The peers and the floors are on the page, and not pinned.
OTHERS = ("peer_", "floor_")
COLUMNS = ["path", "instructions", "allocations", "target instructions", "target allocations"]


def paths(binary):
    out = subprocess.run([binary, "--list"], check=True, capture_output=True, text=True).stdout
    return [(name, int(n), int(items)) for name, n, items in (line.split("\t") for line in out.splitlines())]


def count(plain, counting, name, seconds):
    """Instructions and allocations of one run, or None where it takes too long."""
    try:
        return instructions(plain, name, seconds), int(run([counting, name], seconds))
    except subprocess.TimeoutExpired:
        return None


def instructions(binary, name, seconds, *more):
    """Of the run `binary name more`."""
    with tempfile.TemporaryDirectory() as directory:
        out = os.path.join(directory, "out")
        valgrind = ["valgrind", "--tool=callgrind", "--toggle-collect=*measured*", f"--callgrind-out-file={out}"]
        run(valgrind + [binary, name, *more], seconds)
        totals = [line.split() for line in open(out) if line.startswith(("summary:", "totals:"))]
    return int(totals[0][1])


def run(command, seconds):
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds).stdout
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(command)}: {error}\n{error.stderr}")


def measure(plain, counting, wanted, is_check):
    """Path to instructions and allocations of one item, without the cost of the loop."""
    counted = {}
    too_slow = {name for name, pin in read_pins()[1].items() if pin[0] is None} if is_check else set()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {}
        for name, iterations, items in wanted:
            running[name] = (
                pool.submit(count, plain, counting, name, AGAIN if name in too_slow else SECONDS),
                iterations,
                items,
            )
        for name, (future, iterations, items) in running.items():
            result = future.result()
            per = 1 / (iterations * items)
            counted[name] = result and (result[0] * per, result[1] * per, items)
    loop = counted.pop("empty")[0]
    return {
        name: result and (max(result[0] - loop / result[2], 0), result[1]) for name, result in counted.items()
    }


def machine():
    rustc = subprocess.run(["rustc", "-V"], check=True, capture_output=True, text=True).stdout.strip()
    return f"{rustc}; {' '.join(platform.libc_ver())}; {platform.machine()}"


def figure(text):
    return None if text in ("", "-") else float(text)


def read_pins():
    """The machine they were made with, and a row for each path."""
    made_with, pins = "", {}
    for line in open(PINS):
        if line.startswith("# made with: "):
            made_with = line[13:].strip()
        elif not line.startswith("#") and (cells := line.rstrip("\n").split("\t"))[0] != "path":
            pins[cells[0]] = [figure(cell) for cell in (cells[1:] + [""] * 4)[:4]]
    return made_with, pins


def write_pins(counted):
    targets = {name: pin[2:] for name, pin in read_pins()[1].items()} if os.path.exists(PINS) else {}
    comments = [line for line in open(PINS) if line.startswith("#") and not line.startswith("# made with: ")]
    show = lambda number, form: "-" if number is None else format(number, form)
    with open(PINS, "w") as file:
        file.writelines(comments)
        file.write(f"# made with: {machine()}\n" + "\t".join(COLUMNS) + "\n")
        for name, result in counted.items():
            if not name.startswith(OTHERS):
                now = [show(result and result[0], ".0f"), show(result and result[1], ".2f")]
                file.write("\t".join([name, *now, *(show(t, "g") for t in targets.get(name, [None] * 2))]) + "\n")


def results():
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "..", "target"))
    directory = os.environ.get("BENCH_RESULTS", os.path.join(target, "bench"))
    os.makedirs(directory, exist_ok=True)
    return directory


def write_rows(counted):
    with open(os.path.join(results(), "counts.jsonl"), "w") as file:
        for name, result in counted.items():
            row = {"target": "counts", "path": name}
            if result:
                row |= {"instructions": round(result[0], 1), "allocations": round(result[1], 3)}
            file.write(json.dumps(row) + "\n")


def grew(now, pin, loose):
    return now > max(pin * GROWTH, pin + loose)


def check(counted):
    made_with, pins = read_pins()
    same = made_with == machine()
    if not same:
        print(f"the pins were made with {made_with}, this is {machine()}: only allocations are held against them")
    worse, better = [], []
    for name, result in counted.items():
        if name not in pins:
            worse.append(f"{name}: not pinned")
            continue
        for what, i, loose in (("instructions", 0, 1), ("allocations", 1, LOOSE)):
            now, pin, target = result and result[i], pins[name][i], pins[name][i + 2]
            text = f"{name}: {fmt(now)} {what}, pinned {fmt(pin)}" + (f", target {target:g}" if target is not None else "")
            if what == "instructions" and not same or now is None and pin is None:
                continue
            if pin is not None and (now is None or grew(now, pin, loose)):
                worse.append(text)
            elif now is not None and (pin is None or grew(pin, now, loose)):
                better.append(text)
    worse += growth(counted)
    worse += [f"{name}: pinned, but there is no such path" for name in pins if name not in counted]
    if better:
        print("fewer than pinned; please lower the pins (bash ci/counts.sh pin):", *better, sep="\n  ")
    if worse:
        sys.exit("\n  ".join(["more than pinned; if it is meant, change benches/counts.tsv in the same commit:", *worse]))
    print(f"{len(counted)} paths, none grew")


def growth(counted):
    """The paths that cost more per item at 10,000 items than at 100. A path that is too slow to count is pinned as that."""
    found = []
    for name, result in counted.items():
        small = name.endswith("_10000") and counted.get(name.removesuffix("10000") + "100")
        if small and result and result[0] > PER_ITEM * small[0]:
            found.append(f"{name}: {result[0]:.0f} instructions, {small[0]:.0f} at 100 items: more than {PER_ITEM} times")
    return found


def fmt(number):
    return "too slow to count" if number is None else f"{number:.1f}"


def print_inspect(plain, inspect):
    """Instructions and nanoseconds of an item without the feature and with it; then the costs of snapshots."""
    loop, *wanted = paths(inspect)
    loop = instructions(plain, loop[0], SECONDS) / loop[1]
    print("| path | instructions: off | on | ratio | ns: off | on | ratio |\n|---|--:|--:|--:|--:|--:|--:|")
    for name, iterations, items in wanted:
        counted = [instructions(binary, name, SECONDS) / iterations / items - loop / items for binary in (plain, inspect)]
        # In turns, and the least of each, because other programs only ever add to it.
        times = [[float(run([binary, "--time", name], SECONDS)) for binary in (plain, inspect)] for _ in range(3)]
        cells = [f"{off:.0f} | {on:.0f} | {on / off:.1f}" for off, on in (counted, map(min, zip(*times)))]
        print(f"| `{name}` | {' | '.join(cells)} |")
    print("\n" + run([inspect, "--snapshots"], 300))


def print_growth(plain, inspect, word):
    """The instructions of whole operations at four sizes, and their exponents."""
    operations = [(plain, name) for name in lines([plain, "--operations"])]
    operations += [(inspect, name) for name in lines([inspect, "--operations"]) if name.startswith("snapshot")]
    operations = [operation for operation in operations if word in operation[1]]
    rows, steep = [], []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for (_, name), points in zip(operations, pool.map(lambda operation: series(*operation), operations)):
            slope = exponent(points) if len(points) > 1 else math.inf
            cells = [f"{total:,.0f}" for _, total in points] + ["too slow"] * (len(SIZES) - len(points))
            print(f"{slope:5.2f}  {name}: {'; '.join(cells)}", flush=True)
            rows.append({"target": "growth", "operation": name.removesuffix("_1000").removesuffix("_100"), "points": points})
            if slope > EXPONENT or len(points) < len(SIZES):
                steep.append(name)
    if not word:
        with open(os.path.join(results(), "growth.jsonl"), "w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    if steep:
        sys.exit(f"more than linear, with an exponent above {EXPONENT}: {', '.join(steep)}")
    print(f"{len(rows)} operations, none has an exponent above {EXPONENT}")


def lines(command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def series(binary, name):
    """Size and instructions, up to the size that takes too long."""
    points = []
    for n in SIZES:
        try:
            points.append((n, instructions(binary, "--grow", 2 * SECONDS, name, str(n))))
        except subprocess.TimeoutExpired:
            break
    return points


def exponent(points):
    x, y = zip(*((math.log(n), math.log(max(total, 1))) for n, total in points))
    return statistics.linear_regression(x, y).slope


def main():
    mode, plain, counting = sys.argv[1:4]
    if mode == "growth":
        print_growth(plain, counting, (sys.argv[4:] or [""])[0])
        return
    if mode == "inspect":
        print_inspect(plain, counting)
        return
    wanted = [path for path in paths(plain) if mode != "check" or not path[0].startswith(OTHERS)]
    counted = measure(plain, counting, wanted, mode == "check")
    if mode == "check":
        check(counted)
        return
    for name, result in counted.items():
        numbers = f"{result[0]:10.1f} instructions {result[1]:8.2f} allocations" if result else fmt(None)
        print(f"{numbers}  {name}")
    write_rows(counted)
    if mode == "pin":
        write_pins(counted)


main()
