#!/usr/bin/env python3
"""What a further call of `scope.run` adds to a user's program: bytes in the binary, and seconds in the build.

    python3 benches/further.py [ROUNDS]

A program with 21 calls is built, and one with a single call; each call has a body of its own type that waits once. The
difference, divided by 20, is one call. The peer is tokio's `timeout` around the same bodies. Seconds are those that the
compiler kept a processor busy, the least of the rounds, because other programs only ever add to it; the binary is
stripped. `bash ci/bench.sh further` runs this, and writes rows for benches/page.py.
"""

import json
import os
import resource
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
CRATE = os.path.join(TARGET, "further")
MORE = 20

MANIFEST = f"""
[package]
name = "further"
version = "0.0.0"
edition = "2024"

[dependencies]
moored = {{ path = "{ROOT}", features = ["tokio"] }}
tokio = {{ version = "1", features = ["rt", "time"] }}

[profile.release]
codegen-units = 1
strip = true

[workspace]
"""

CALLS = {
    "moored: scope.run": "moored::CancelScope::new().run(BODY).await.unwrap_or(0)",
    "moored: move_on_after": "moored::move_on_after(HOUR, BODY).await.unwrap_or(0)",
    "tokio: timeout": "tokio::time::timeout(HOUR, BODY).await.unwrap_or(0)",
}


def program(call, n):
    body = "async move { tokio::task::yield_now().await; black_box(x + %d) }"
    calls = "\n".join(f"async fn call{i}(x: u64) -> u64 {{ {call.replace('BODY', body % i)} }}" for i in range(n))
    sums = "\n".join(f"        sum += call{i}(sum).await;" for i in range(n))
    return f"""#![allow(dead_code)]
use std::hint::black_box;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

{calls}

fn main() {{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(moored::task(async {{
        let mut sum = 1;
{sums}
        println!("{{sum}}");
    }}));
}}
"""


def build(source):
    """The bytes of the binary, and the processor seconds of its crate alone."""
    with open(os.path.join(CRATE, "src", "main.rs"), "w") as file:
        file.write(source)
    before = busy()
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=CRATE, check=True, env=environment())
    return os.path.getsize(os.path.join(CRATE, "target", "release", "further")), busy() - before


def environment():
    return {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}


def busy():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    os.makedirs(os.path.join(CRATE, "src"), exist_ok=True)
    with open(os.path.join(CRATE, "Cargo.toml"), "w") as file:
        file.write(MANIFEST)
    # The same versions as in the other figures.
    shutil.copy(os.path.join(ROOT, "Cargo.lock"), CRATE)
    build("fn main() {}")
    rows = []
    for name, call in CALLS.items():
        size, seconds = [], []
        for n in (1, 1 + MORE):
            # A comment that differs, or a round would find the last one's result.
            built = [build(f"{program(call, n)}\n// round {at}\n") for at in range(rounds)]
            size.append(built[0][0])
            seconds.append(min(took for _, took in built))
        for question, unit, values in (
            ("a further call, in the binary", "B", size),
            ("a further call, in the build", "s", seconds),
        ):
            value = (values[1] - values[0]) / MORE
            print(f"{question}: {name} {value:,.3f} {unit}", flush=True)
            rows.append({
                "target": "further", "question": question, "n": MORE, "contender": name, "unit": unit, "value": value,
            })  # fmt: skip
    directory = os.environ.get("BENCH_RESULTS", os.path.join(TARGET, "bench"))
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "further.jsonl"), "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


main()
