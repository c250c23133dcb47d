#!/usr/bin/env python3
"""Counts the locked instructions of the hot paths: locks, counts of references, and other changes of shared words.

    locked.py COUNTS [WORD]   of all paths of the binary `counts`, or of those with the word in their names

Such an instruction takes about twenty times as long as another one, so two paths with as many instructions may take
different times. The sketches of the floor and the peers stand beside ours.
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

INSTRUCTION = re.compile(r"\s+([0-9a-f]+):\s+(.*)")
# An exchange with memory is locked without a prefix.
LOCKED = re.compile(r"lock\b|xchg\b.*\(")
# A position of callgrind's format is absolute, relative to the one before, or the same; the cost follows the line.
COST = re.compile(r"(0x[0-9a-f]+|[+-]\d+|\*) \S+ (\d+)")


def locked_in(binary):
    """The addresses of the locked instructions."""
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", binary], check=True, capture_output=True, text=True
    ).stdout
    found = filter(None, map(INSTRUCTION.match, listing.splitlines()))
    return {int(one[1], 16) for one in found if LOCKED.match(one[2])}


def executed(binary, name, locked):
    """How many of them one run of the path executes."""
    with tempfile.TemporaryDirectory() as directory:
        out = os.path.join(directory, "out")
        valgrind = ["valgrind", "--tool=callgrind", "--dump-instr=yes", "--toggle-collect=*measured*"]
        subprocess.run([*valgrind, f"--callgrind-out-file={out}", binary, name], check=True, capture_output=True)
        lines = open(out).read().splitlines()
    total, address, is_call = 0, 0, False
    for line in lines:
        if line.startswith("calls="):
            # The cost of the next line is that of the function that is called.
            is_call = True
        elif cost := COST.match(line):
            position = cost[1]
            if position.startswith("0x"):
                address = int(position, 16)
            elif position != "*":
                address += int(position)
            if not is_call and address in locked:
                total += int(cost[2])
            is_call = False
    return total


def main():
    binary, word = sys.argv[1], "".join(sys.argv[2:])
    listed = subprocess.run([binary, "--list"], check=True, capture_output=True, text=True).stdout.splitlines()
    paths = [(name, int(n) * int(items)) for name, n, items in (line.split("\t") for line in listed)]
    locked = locked_in(binary)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        wanted = [(name, each, pool.submit(executed, binary, name, locked)) for name, each in paths if word in name]
        for name, each, count in wanted:
            print(f"{count.result() / each:10.1f}  {name}")


main()
