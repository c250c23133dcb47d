"""Many seeded bugs in one build, each behind a switch that is read at run time.

The body of a function with bugs becomes a `match` on the number of the bug that this process is asked to have: an arm for
each of its bugs, with a copy of the body, and an arm for the body as it is. A bug that is not inside one body, or does not
compile in this form, needs a build of its own.
"""

import json
import os
import re
import subprocess
import threading
import time
from collections import defaultdict
from pathlib import Path

SWITCH = """
/// The number of the seeded bug that this process has, or 0.
#[allow(dead_code)]
pub(crate) fn seeded_bug() -> u32 {
    static NUMBER: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *NUMBER.get_or_init(|| std::env::var("SEEDED_BUG").map_or(0, |number| number.parse().unwrap()))
}
"""
# Comments, strings and characters: braces inside them do not count. A lifetime is no character.
NOT_CODE = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | r(\#*)".*?"\1 | "(?:\\.|[^"\\])*" | '(?:\\.[^']*|[^'\\])'""", re.X | re.S
)


def bodies(text):
    """The functions with a body, each as the two places of its braces."""
    code = NOT_CODE.sub(lambda found: " " * len(found[0]), text)
    for function in re.finditer(r"\bfn\s+\w+", code):
        if re.search(r"\bconst\s+$", code[: function.start()]):
            continue
        depth = 0
        for at in range(function.end(), len(code)):
            depth += (code[at] in "([{") - (code[at] in ")]}")
            if code[at] == ";" and depth == 0 or depth < 0:
                break
            if code[at] == "{" and depth == 1:
                start = at
            if code[at] == "}" and depth == 0:
                yield start, at
                break


def switched(text, bugs):
    """The text with the bugs, which are pairs of a number and a mutant, behind switches; the lines of each one's arm; and
    the numbers of those that need a build of their own."""
    homes, alone = defaultdict(list), set()
    spans = list(bodies(text))
    for number, bug in bugs:
        start = text.index(bug["old"])
        around = [(a, b) for a, b in spans if a < start and start + len(bug["old"]) <= b]
        if around:
            homes[max(around)].append((number, bug))
        else:
            alone.add(number)
    # Of a body inside another one, the outer one's bugs are left, because a copy of it would double the inner switch.
    for a, b in list(homes):
        if any(a < c and d < b for c, d in homes):
            alone |= {number for number, _ in homes.pop((a, b))}
    parts, arms, done = [], {}, 0
    line = 1

    def put(part):
        nonlocal line
        parts.append(part)
        line += part.count("\n")

    for (a, b), inside in sorted(homes.items()):
        put(text[done : a + 1] + " match crate::seeded_bug() {\n")
        for number, bug in inside:
            first = line
            put(f"{number} => {{ {text[a + 1:b].replace(bug['old'], bug['new'])} }}\n")
            arms[number] = range(first, line)
        put(f"_ => {{ {text[a + 1:b]} }}\n}} ")
        done = b
    put(text[done:])
    return "".join(parts), arms, alone


def build(copy_tree, root, tree, bugs, commands):
    """Builds a copy of `root` in `tree` with as many of the bugs as compile. Returns the executables of each command, and
    the numbers of the bugs inside."""
    files = {bug["file"] for bug in bugs.values()} | {"src/lib.rs"}
    # The bugs that did not compile in an earlier run, so that they do not cost a build each time.
    memory = tree.with_suffix(".alone.json")
    known = json.loads(memory.read_text()) if memory.exists() else []
    alone = {number for number, bug in bugs.items() if [bug["old"], bug["new"]] in known}
    while True:
        arms, texts = {}, {}
        for file in files:
            here = [(number, bug) for number, bug in bugs.items() if bug["file"] == file and number not in alone]
            text, found, _ = switched((root / file).read_text(), here)
            arms |= {number: (file, lines) for number, lines in found.items()}
            texts[file] = text + (SWITCH if file == "src/lib.rs" else "")
        copy_tree(tree, texts)
        broken, made = set(), {}
        for kind, (command, env) in commands.items():
            made[kind], errors = compile_once(tree, command, env)
            for file, line in errors:
                broken |= {number for number, (where, lines) in arms.items() if where == file and line in lines}
            if errors and not broken:
                raise SystemExit(f"the switches do not compile: {errors}")
        if not broken:
            return made, set(arms)
        alone |= broken
        memory.write_text(json.dumps([[bugs[number]["old"], bugs[number]["new"]] for number in sorted(alone)]))


def compile_once(tree, command, env):
    """The executables, and the places of the errors."""
    command = [*command.split(), "--no-run", "--message-format=json"]
    command.remove("-q")
    ran = subprocess.run(command, cwd=tree, env={**os.environ, **env}, capture_output=True, text=True)
    executables, errors = [], []
    for message in map(json.loads, filter(lambda line: line.startswith("{"), ran.stdout.splitlines())):
        if message.get("executable") and message.get("profile", {}).get("test"):
            executables.append(message["executable"])
        if message.get("message", {}).get("level") == "error":
            errors += [(span["file_name"], span["line_start"]) for span in message["message"]["spans"]]
    if ran.returncode and not errors:
        raise SystemExit(ran.stderr[-3000:])
    return executables, errors


def notices(tree, executable, env, number, filters, patience):
    """The first test of the executable that fails with the bug; None if none does."""
    command = [executable, "--test-threads=1", *filters]
    env = {**os.environ, **env, "SEEDED_BUG": str(number), "RUST_BACKTRACE": "0"}
    with subprocess.Popen(
        command, cwd=tree, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
    ) as process:
        hangs = threading.Event()
        threading.Thread(target=watch, args=(process, patience, hangs)).start()
        running = "the process"
        for line in process.stdout:
            # A test prints its name before it runs, so a process that ends in it leaves a line without a result.
            found = re.match(r"test (\S+)(?: - should panic)? \.\.\. ?(\w*)", line)
            running = found[1] if found else running
            if found and found[2] == "FAILED":
                process.kill()
                return running
        status = process.wait()
    return f"{running} hangs" if hangs.is_set() else None if status == 0 else running


def watch(process, patience, hangs):
    """Ends a process that waits for ever, or has used so many seconds of a processor. The clock on the wall tells nothing
    where other work keeps the machine busy."""
    used, still = 0, 0
    while process.poll() is None:
        time.sleep(0.5)
        try:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return
        before, used = used, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        still = still + 1 if used == before and fields[0] == "S" else 0
        if still > 60 or used > patience:
            hangs.set()
            process.kill()
