#!/usr/bin/env python3
"""What the same costs in Python, where the ideas come from: scopes, exits, task groups of Trio, AnyIO and asyncio.

    footnote.py RESULTS    writes python.jsonl there

Not side by side with ours, which is another process: a footnote, for the order of magnitude. `bash ci/bench.sh python` runs
it in a virtual environment of its own.
"""

import asyncio
import contextlib
import json
import os
import sys
import time

import anyio
import trio

ROUNDS = 15


async def trio_scope(n):
    for _ in range(n):
        with trio.CancelScope():
            pass


async def anyio_scope(n):
    for _ in range(n):
        with anyio.CancelScope():
            pass


async def asyncio_timeout(n):
    for _ in range(n):
        async with asyncio.timeout(3600):
            pass


async def trio_deadline(n):
    for _ in range(n):
        with trio.move_on_after(3600):
            pass


async def anyio_deadline(n):
    for _ in range(n):
        with anyio.move_on_after(3600):
            pass


async def nothing():
    pass


async def exits(n):
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(n):
            stack.push_async_callback(nothing)


async def trio_tasks(n):
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(nothing)


async def anyio_tasks(n):
    async with anyio.create_task_group() as group:
        for _ in range(n):
            group.start_soon(nothing)


async def asyncio_tasks(n):
    async with asyncio.TaskGroup() as group:
        for _ in range(n):
            group.create_task(nothing())


def on_asyncio(work, n):
    return asyncio.run(timed(work, n))


def on_trio(work, n):
    return trio.run(timed, work, n)


async def timed(work, n):
    await work(n)
    started = time.perf_counter_ns()
    await work(n)
    return (time.perf_counter_ns() - started) / n


# Question, n of the row or None where it is only how often, and who can do it.
QUESTIONS = [
    ("Python: enter and leave a scope", None, [
        ("Trio: CancelScope", on_trio, trio_scope),
        ("AnyIO on asyncio: CancelScope", on_asyncio, anyio_scope),
    ]),
    ("Python: the same with a deadline", None, [
        ("Trio: move_on_after", on_trio, trio_deadline),
        ("AnyIO on asyncio: move_on_after", on_asyncio, anyio_deadline),
        ("asyncio: timeout", on_asyncio, asyncio_timeout),
    ]),
    ("Python: an exit, pushed and run", 1000, [
        ("contextlib: AsyncExitStack", on_asyncio, exits),
    ]),
    ("Python: a task, spawned and left", 1000, [
        ("Trio: nursery", on_trio, trio_tasks),
        ("AnyIO on asyncio: task group", on_asyncio, anyio_tasks),
        ("asyncio: TaskGroup", on_asyncio, asyncio_tasks),
    ]),
]  # fmt: skip


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    with open(os.path.join(sys.argv[1], "python.jsonl"), "w") as file:
        for question, n, contenders in QUESTIONS:
            rounds = {who: [] for who, _, _ in contenders}
            for _ in range(ROUNDS):
                for who, run, work in contenders:
                    rounds[who].append(round(run(work, n or 2000), 1))
            for who, ns in rounds.items():
                print(f"{sorted(ns)[len(ns) // 2]:10.0f} ns  {question}: {who}")
                row = {"target": "python", "question": question, "n": n or 1, "contender": who, "ours": False, "ns": ns}
                file.write(json.dumps(row) + "\n")


main()
