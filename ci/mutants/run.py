"""Seeds one bug at a time and looks whether a test, a model or a schedule notices it.

    ci/mutants.sh                all mutants; results go to docs/proof/mutants.json
    ci/mutants.sh WORD..         the mutants with one of the words in their name, file or check
    ci/mutants.sh --rest WORD..  of those mutants, the ones without a result
    ci/mutants.sh --switched [--rest] WORD..  the same, with as many mutants in one build as compile together
    ci/mutants.sh --check        checks only that each old text stands in its file once: seconds
    ci/mutants.sh --list

A mutant is an entry of ci/mutants/*.toml: a file, an old text, the new text, and a check: `tests`, `loom`, `shuttle`, or
`inspect` for the tests with every feature, with a filter. The check is tried first. If it does not notice the mutant, the
others are tried whole, and the check that noticed is recorded. A mutant without a visible effect has the reason in `equivalent`. It is an error if any other mutant
survives, if an equivalent mutant is noticed, if a mutant does not compile, or if its old text is gone: then the code has
changed, and the mutant has to follow.

With `--switched`, a mutant costs no build, only its own check and all tests; see switches.py. A mutant that those do not
notice stays open, for a run without `--switched`.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

sys.dont_write_bytecode = True
import switches

ROOT = Path(__file__).resolve().parents[2]
# A copy of the tree, and its build: cargo takes crates of the same name, in two trees, for the same crate.
SCRATCH = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "mutants"
TREE, BUILD = SCRATCH / "tree", SCRATCH / "build"
# The tree with the switches, and its build.
SWITCHED, SWITCHED_BUILD = SCRATCH / "switched", SCRATCH / "switched-build"
RESULTS = ROOT / "docs/proof/mutants.json"
# A lost wake-up may show as a test that hangs.
PATIENCE = int(os.environ.get("MUTANT_SECONDS", "300"))

# A mutant is built once and run once, so the profile minimises the time of a rebuild.
PROFILE = {
    "CARGO_PROFILE_DEV_DEBUG": "false",
    "CARGO_PROFILE_TEST_DEBUG": "false",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "1",
    "CARGO_PROFILE_RELEASE_INCREMENTAL": "true",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "256",
}

CHECKS = {
    "tests": {
        "run": "cargo test -q -p moored --features testing,tokio,smol --test it --test panic --test model",
        "env": {},
    },
    "loom": {
        # All the models take minutes, and one that deadlocks says so itself.
        "patience": 4 * PATIENCE,
        "run": "cargo test -q --release -p loom-tests --test models",
        "env": {
            "RUSTFLAGS": "--cfg loom",
            "CARGO_TARGET_DIR": f"{BUILD}/loom",
            "LOOM_MAX_PREEMPTIONS": os.environ.get("LOOM_MAX_PREEMPTIONS", "2"),
        },
    },
    "shuttle": {
        "run": "cargo test -q --release -p shuttle-tests --test schedules",
        "env": {"RUSTFLAGS": "--cfg shuttle", "CARGO_TARGET_DIR": f"{BUILD}/shuttle"},
    },
    # For code that the features of the first check leave out.
    "inspect": {
        "means": "tests",
        "run": "cargo test -q -p moored --all-features --test it",
        "env": {"CARGO_TARGET_DIR": f"{BUILD}/inspect"},
    },
}


def means(check):
    """The means of a check, as docs/proof.md names it."""
    kind = check.split()[0]
    return CHECKS[kind].get("means", kind)


class DoesNotCompile(Exception):
    """Not a bug that anybody could have made."""


def mutants():
    found = []
    for path in sorted((ROOT / "ci/mutants").glob("*.toml")):
        found += tomllib.loads(path.read_text())["mutant"]
    return found


def misfits(found):
    """The mutants that no longer fit: an old text must stand in its file once."""
    names = [mutant["name"] for mutant in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"two mutants are called {name!r}"
    for mutant in found:
        times = (ROOT / mutant["file"]).read_text().count(mutant["old"])
        if times != 1:
            yield f"{mutant['name']!r}: the old text stands {times} times in {mutant['file']}"
        if mutant["check"].split()[0] not in CHECKS:
            yield f"{mutant['name']!r}: no such check: {mutant['check']}"


def copy_tree(tree, texts):
    """Copies the files that git tracks, with other texts for some. Only changed files are written, so that cargo builds
    only those."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    files = {Path(name.decode()) for name in files.split(b"\0") if name and (ROOT / name.decode()).is_file()}
    for old in tree.rglob("*"):
        if old.is_file() and old.relative_to(tree) not in files:
            old.unlink()
    for name in files:
        source, copy = ROOT / name, tree / name
        text = texts[str(name)].encode() if str(name) in texts else source.read_bytes()
        if not copy.exists() or copy.read_bytes() != text:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(text)
            shutil.copymode(source, copy)


def run(command, env, patience=PATIENCE):
    """The exit status, and the output's end; the status of one that took too long is None."""
    with subprocess.Popen(
        command,
        cwd=TREE,
        env={**os.environ, "CARGO_TARGET_DIR": str(BUILD), "RUST_BACKTRACE": "0", **PROFILE, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=patience)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            # The group that was started above, and nothing else.
            os.killpg(process.pid, signal.SIGKILL)
            return None, ""


def notices(check):
    """The test of the check that fails on the tree; None if none fails."""
    kind, *filters = check.split()
    command = CHECKS[kind]["run"].split()
    status, output = run(command + ["--no-run"], CHECKS[kind]["env"], patience=None)
    if status != 0:
        raise DoesNotCompile(output[-3000:])
    # After the dashes: cargo itself takes one filter only, and a command line that it refuses looks like a failed test.
    patience = CHECKS[kind].get("patience", PATIENCE)
    status, output = run([*command, "--", *filters], CHECKS[kind]["env"], patience)
    if status == 0:
        return None
    if status is None:
        return "it hangs"
    if not re.search(r"^running \d+ test", output, re.M):
        sys.exit(f"the check did not run: {check}\n{output[-3000:]}")
    failed = re.findall(r"^---- (\S+)", output, re.M) or re.findall(r"thread '([^']+)' (?:\(\d+\) )?panicked", output)
    return sorted(set(failed))[0] if failed else "the process ends"


def try_out(mutant):
    path = TREE / mutant["file"]
    good = path.read_text()
    path.write_text(good.replace(mutant["old"], mutant["new"]))
    try:
        # MUTANT_FIRST=1 stops at the check that should notice, to find quickly which one does not.
        whole = [] if os.environ.get("MUTANT_FIRST") else [check for check in CHECKS if check != mutant["check"]]
        for check in [mutant["check"], *whole]:
            test = notices(check)
            if test:
                return {"killed_by": means(check), "test": test}
        return {"killed_by": None, "open": True} if os.environ.get("MUTANT_FIRST") else {"killed_by": None}
    finally:
        path.write_text(good)


def try_switched(chosen):
    """The mutants that one build can have, each with its outcome."""
    # All are built, whichever are chosen, so that the next run need not build again.
    numbered = dict(enumerate(mutants(), 1))
    kinds = {mutant["check"].split()[0] for mutant in chosen} & {"tests", "loom", "inspect"} | {"tests"}
    envs = {kind: {**CHECKS[kind]["env"], "CARGO_TARGET_DIR": f"{SWITCHED_BUILD}/{kind}"} for kind in kinds}
    commands = {kind: (CHECKS[kind]["run"], envs[kind]) for kind in sorted(kinds)}
    made, inside = switches.build(copy_tree, ROOT, SWITCHED, numbered, commands)
    inside = {number for number in inside if numbered[number] in chosen}
    print(f"{len(inside)} of {len(chosen)} mutants in one build", flush=True)
    # The quickest executable to notice most comes first.
    for executables in made.values():
        executables.sort(key=lambda path: not Path(path).name.startswith("it-"))
    for number in sorted(inside):
        kind, *filters = numbered[number]["check"].split()
        tries = [("tests", [])] if kind not in made else [(kind, filters), ("tests", [])]
        found = (
            {"killed_by": means(kind), "test": test}
            for kind, filters in tries
            for executable in made[kind]
            if (test := switches.notices(SWITCHED, executable, envs[kind], number, filters, PATIENCE))
        )
        survived = {"killed_by": None} if "equivalent" in numbered[number] else {"killed_by": None, "open": True}
        yield numbered[number], next(found, survived)


def try_alone(chosen):
    for mutant in chosen:
        try:
            yield mutant, try_out(mutant)
        except DoesNotCompile as error:
            print(error, flush=True)
            yield mutant, None


def main(words):
    found = mutants()
    wrong = list(misfits(found))
    if wrong:
        sys.exit("\n".join(wrong))
    if words == ["--list"]:
        print("\n".join(f"{mutant['check']:<28} {mutant['file']:<28} {mutant['name']}" for mutant in found))
        return
    if words == ["--check"]:
        print(f"{len(found)} mutants fit the sources")
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    known = {mutant["name"] for mutant in found}
    results = {result["name"]: result for result in results if result["name"] in known}
    in_one_build = words[:1] == ["--switched"]
    words = words[in_one_build:]
    rest = words[:1] == ["--rest"]
    words = words[rest:]
    chosen = [
        mutant
        for mutant in found
        if not (rest and mutant["name"] in results and "open" not in results[mutant["name"]])
        and (not words or any(word in mutant[key] for word in words for key in ("name", "file", "check")))
    ]
    copy_tree(TREE, {})
    bad = []
    outcomes = try_switched(chosen) if in_one_build else try_alone(chosen)
    for number, (mutant, outcome) in enumerate(outcomes, 1):
        print(f"{number}/{len(chosen)} {mutant['file']}: {mutant['name']}", end=" ", flush=True)
        if outcome is None:
            print("-> DOES NOT COMPILE", flush=True)
            bad.append(mutant["name"])
            continue
        print(f"-> {outcome['killed_by'] or 'SURVIVES'} {outcome.get('test', '')}", flush=True)
        if "open" not in outcome and (outcome["killed_by"] is None) != ("equivalent" in mutant):
            bad.append(mutant["name"])
        entry = {key: mutant[key] for key in ("name", "file", "rule")}
        if "equivalent" in mutant:
            entry["equivalent"] = mutant["equivalent"]
        results[mutant["name"]] = {**entry, **outcome}
        ordered = [results[mutant["name"]] for mutant in found if mutant["name"] in results]
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")
    if bad:
        sys.exit("not as it should be: " + "; ".join(bad))
    print(f"{len(chosen)} mutants chosen; those tried are as they should be")


main(sys.argv[1:])
