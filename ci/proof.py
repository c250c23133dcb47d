"""Writes docs/proof.md from the results that the runs recorded in docs/proof/*.json.

    python3 ci/proof.py                  writes docs/proof.md, from the files that are there
    python3 ci/proof.py --check          checks that docs/proof.md matches those files: seconds, for the gate
    python3 ci/proof.py --explore NAME..  runs `models`, `schedules`, `cuts`, `example-cuts`, `mcp-cuts` or `programs` first,
                                         all of them where none is named, and records how much each of their tests
                                         explored
    python3 ci/proof.py --fuzzed LOG     records the figures that a run of the fuzzer printed

The seeded bugs are ci/mutants.sh's; it writes docs/proof/mutants.json. The lines that no test runs are ci/coverage.py's. A
test stands for the rules that its name begins with: r08_r16_… for R8 and R16.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RAW = ROOT / "docs/proof"
PAGE = ROOT / "docs/proof.md"

# The means, the name of one step of each, the command, and the folder of its tests.
MEANS = {
    "models": ("interleavings", "bash ci/loom.sh", "loom-tests/tests"),
    "schedules": ("schedules", "bash ci/shuttle.sh -- --nocapture", "shuttle-tests/tests"),
    "cuts": ("cuts", "cargo test -p moored --features testing,tokio,smol --test it cut:: -- --nocapture", "tests/it/cut"),
    "example-cuts": (
        "cuts",
        "cargo test -p moored-example-sqlite-pool -p moored-example-loom-on-top --test it --test cut cut -- --nocapture",
        "examples/*/tests",
    ),
    "mcp-cuts": ("cuts", "cargo test -p moored-mcp --test sessions cut:: -- --nocapture", "mcp/tests/sessions/cut.rs"),
    "programs": ("programs", "cargo test -p moored --features testing --test model -- --nocapture", "tests/model.rs"),
}
EXPLORED = re.compile(r"explored (\S+): (\d+) (\w+)")
FUZZING = "FUZZ_SECONDS=3600 bash ci/deep.sh fuzz"


def explore(names):
    for name in names or MEANS:
        print(f"=== {name}: {MEANS[name][1]}", flush=True)
        env = {**os.environ, "CARGO_TERM_COLOR": "never"}
        run = subprocess.run(MEANS[name][1].split(), cwd=ROOT, env=env, capture_output=True, text=True, errors="replace")
        if run.returncode != 0:
            sys.exit(run.stdout[-3000:] + run.stderr[-3000:])
        counts = Counter()
        for test, count, _ in EXPLORED.findall(run.stdout):
            counts[test] += int(count)
        if not counts:
            sys.exit(f"{name} told nothing of what it explored")
        RAW.mkdir(exist_ok=True)
        (RAW / f"{name}.json").write_text(json.dumps(dict(sorted(counts.items())), indent=1) + "\n")


def fuzzed(log):
    """The last figures of libFuzzer, which it prints at its end if nothing crashed."""
    text = Path(log).read_text(errors="replace")
    done = re.search(r"Done (\d+) runs in (\d+) second", text)
    if not done:
        sys.exit(f"{log}: the fuzzer did not come to its end")
    reached = re.findall(r"cov: (\d+) ft: (\d+)", text)[-1]
    figures = [*done.groups(), *reached]
    told = dict(zip(["executions", "seconds", "edges", "features"], map(int, figures)))
    (RAW / "fuzz.json").write_text(json.dumps(told, indent=1) + "\n")


def rules_of(test):
    """The rules that a test's name begins with."""
    name = test.rsplit("::", 1)[-1]
    return re.findall(r"r(\d\d)_", re.match(r"(?:r\d\d_)*", name).group())


def promises():
    """The rules and their titles, from the table in docs/design.md."""
    rows = re.findall(r"^\| \*\*R(\d+) ([^*]+)\*\* \|", (ROOT / "docs/design.md").read_text(), re.M)
    if len(rows) < 19:
        sys.exit("docs/design.md has no table of R1 to R19 any more")
    return {f"{int(number):02}": title.strip(" .") for number, title in rows}


def tests_by_rule():
    """The number of tests named after each rule, whether they explore or not."""
    found = Counter()
    for path in sorted((ROOT / "tests").rglob("*.rs")):
        for name in re.findall(r"fn ((?:r\d\d_)+\w+)", path.read_text()):
            found.update(set(rules_of(name)))
    return found


def seeded():
    """The seeded bugs, tried or not, by name; with the reason if no test can notice one."""
    lists = [tomllib.loads(path.read_text())["mutant"] for path in (ROOT / "ci/mutants").glob("*.toml")]
    return {mutant["name"]: mutant.get("equivalent") for mutant in sum(lists, [])}


def fate(mutant):
    """The means that noticed it; or that none can; or that none has yet."""
    return mutant["killed_by"] or ("open" if "open" in mutant else "equivalent")


def raw(name, empty):
    path = RAW / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else empty


def page():
    explored = {name: raw(name, {}) for name in MEANS}
    mutants = raw("mutants", [])
    tests = tests_by_rule()
    by_rule = defaultdict(Counter)
    for means, counts in explored.items():
        for test, count in counts.items():
            for rule in rules_of(test):
                by_rule[rule][means] += count
                by_rule[rule, means]["tests"] += 1
    killed = defaultdict(Counter)
    for mutant in mutants:
        killed[f"{int(mutant['rule'][1:]):02}"][fate(mutant)] += 1

    def cell(rule, means):
        number = by_rule[rule, means]["tests"]
        return f"{by_rule[rule][means]:,} in {number}" if number else ""

    lines = [
        "# What is proved, and how",
        "",
        "Generated by `ci/proof.py` from `docs/proof/*.json`, which the runs wrote; not to be edited by hand. Each line is a",
        "rule of [design.md](design.md). *Tests* are those of `tests/` that bear the rule's name. *Interleavings* are",
        "loom's, all that there are up to two preemptions (one, for the largest models), in so many models. *Schedules* are",
        "random ones and PCT's, in so many tests of whole groups. *Cuts* are futures that were dropped, cancelled or made to",
        "panic at one of their polls, at each of them in turn. *Programs* are those that the reference model of `tests/model`",
        "runs beside the crate in each run of the tests, and the fuzzer many more. *Seeded bugs* are the mutants of `ci/mutants/`,",
        "by the means that noticed them first: t for tests, l for loom, s for shuttle, = for a mutant without a visible effect, ? for an open one.",
        "",
        "| rule | promise | tests | interleavings | schedules | cuts | programs | seeded bugs |",
        "|---|---|--:|--:|--:|--:|--:|---|",
    ]
    letters = {"tests": "t", "loom": "l", "shuttle": "s", "equivalent": "=", "open": "?"}
    for rule, title in promises().items():
        bugs = " ".join(f"{killed[rule][by]} {letter}" for by, letter in letters.items() if killed[rule][by])
        cells = [cell(rule, means) for means in ("models", "schedules", "cuts", "programs")]
        lines.append(f"| R{int(rule)} | {title} | {tests[rule]} | {' | '.join(cells)} | {bugs} |")
    lines += ["", "## In all", ""]
    for means, (unit, command, where) in MEANS.items():
        counts = explored[means]
        if counts:
            lines.append(f"- {means}: {sum(counts.values()):,} {unit}; tests: {len(counts)}, in `{where}`; `{command}`")
        else:
            lines.append(f"- {means}: nothing was written down yet; `{command}`")
    told = raw("fuzz", {})
    if told:
        lines.append(
            f"- fuzzing, with AddressSanitizer: {told['executions']:,} programs in {told['seconds']:,} s, {told['edges']:,} edges and "
            f"{told['features']:,} features reached, no crash; `{FUZZING}`"
        )
    by_means = Counter(map(fate, mutants))
    lines.append(
        f"- seeded bugs: {len(seeded())} on the list, {len(mutants)} tried so far, of which tests noticed {by_means['tests']}, loom {by_means['loom']}, "
        f"shuttle {by_means['shuttle']}; {by_means['equivalent']} are equivalent, {by_means['open']} open; `bash ci/mutants.sh`"
    )
    lines += ["", "## Seeded bugs", ""]
    reasons = seeded()
    for mutant in mutants:
        why, untried = reasons.get(mutant["name"]), "The check that should notice it does not; the others are still to be tried."
        told = {"equivalent": why, "open": f"Thought to be equivalent: {why} {untried}" if why else untried}
        told = told.get(fate(mutant)) or f"{mutant['killed_by'].capitalize()}: `{mutant['test']}`"
        lines.append(f"- `{mutant['file']}`, {mutant['rule']}: {mutant['name']}. {told}")
    return "\n".join(lines + coverage_lines()) + "\n"


def coverage_lines():
    """The lines that the tests run, and those that they do not, with the reason; from ci/coverage.py."""
    told = raw("coverage", {})
    if not told:
        return []
    run, all_of_them = told["lines_run"], told["lines"]
    lines = ["", "## Lines that no test runs", ""]
    lines.append(f"Of {all_of_them:,} lines with code in `src/`, {run:,} are run by `{told['command']}`: {100 * run / all_of_them:.1f} %. {told['about']}")
    lines.append("")
    lines += [f"- `{rest['file']}`, {rest['lines']}: {rest['why']}" for rest in told["not_run"]]
    return lines


def main(words):
    if words[:1] == ["--explore"]:
        unknown = set(words[1:]) - set(MEANS)
        if unknown:
            sys.exit(f"no such means: {unknown}; there are {', '.join(MEANS)}")
        explore(words[1:])
    elif words[:1] == ["--fuzzed"]:
        fuzzed(words[1])
    elif words == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != page():
            sys.exit("docs/proof.md is not what docs/proof/*.json say: python3 ci/proof.py")
        return
    PAGE.write_text(page())


main(sys.argv[1:])
