#!/usr/bin/env python3
"""Draws a recorded timeline as SVG: a row for each task, a bar for each region and each exit.

    cargo run --example hanging --features inspect -- --timeline | python3 docs/timeline.py > src/guide/timeline.svg

Reads what `inspect::Timeline::to_trace_json` writes. Bars that overlap stand below each other, and exits have another
colour. A bar that was open at the end of the recording has no border and an arrow behind its name. A name that is longer
than its bar is cut; the pointer shows it.
"""

import json
import math
import sys
from html import escape

WIDTH, LANE, GAP, CHAR = 760, 19, 9, 6.7
REGION, EXIT, INK, LINE = "#4c78a8", "#d1662f", "#24292f", "#c9d1d9"


def rows(events):
    """Each task's name with its bars, in the order in which the tasks appear."""
    names = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    bars = [event for event in events if event["ph"] == "X"]
    for tid in sorted(names):
        yield names[tid], sorted((bar for bar in bars if bar["tid"] == tid), key=lambda bar: (bar["ts"], -bar["dur"]))


def lanes(bars):
    """The bars with the lane of each: the first in which nothing is in the way."""
    ends = []
    for bar in bars:
        end = bar["ts"] + bar["dur"]
        lane = next((lane for lane, taken in enumerate(ends) if taken <= bar["ts"]), len(ends))
        ends[lane:lane + 1] = [end]
        yield lane, bar


def label(bar, width):
    """The name of a bar, as much of it as the bar has room for."""
    name, mark = bar["name"], " →" if bar["args"]["open"] else ""
    room = int((width - 10) / CHAR) - len(mark)
    if len(name) > room:
        name = name[:room - 1] + "…" if room > 3 else ""
    return name + mark if name else ""


def ticks(last):
    """Four to ten round times."""
    step = 10 ** math.floor(math.log10(last / 4))
    step *= max(times for times in (1, 2, 5) if step * times <= last / 4)
    return [step * tick for tick in range(int(last / step) + 1)]


def draw(trace):
    everything = list(rows(trace["traceEvents"]))
    last = max(bar["ts"] + bar["dur"] for _, bars in everything for bar in bars) or 1
    # Names of rows are bold.
    start = 24 + max(len(name) for name, _ in everything) * CHAR
    x = lambda time: start + time * WIDTH / last
    parts, y = [], 28
    for name, bars in everything:
        placed = list(lanes(bars))
        height = (1 + max(lane for lane, _ in placed)) * LANE
        parts.append(f'<text x="8" y="{y + 13}" font-weight="600">{escape(name)}</text>')
        for lane, bar in placed:
            left, width, top = x(bar["ts"]), max(bar["dur"] * WIDTH / last, 2), y + lane * LANE
            is_exit, is_open = bar["name"].startswith("exit of"), bar["args"]["open"]
            edge = "" if is_open else f' stroke="{EXIT if is_exit else REGION}"'
            parts.append(
                f'<g><title>{escape(bar["name"])}, {bar["dur"] / 1000:.1f} ms{", still open" if is_open else ""}</title>'
                f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{LANE - 3}" rx="2"'
                f' fill="{EXIT if is_exit else REGION}" fill-opacity="{0.55 if is_exit else 0.25}"{edge}/>'
                f'<text x="{left + 5:.1f}" y="{top + 12}">{escape(label(bar, width))}</text></g>'
            )
        y += height + GAP
        parts.append(f'<line x1="8" x2="{start + WIDTH:.0f}" y1="{y - GAP // 2}" y2="{y - GAP // 2}" stroke="{LINE}"/>')
    for time in ticks(last):
        parts.append(
            f'<line x1="{x(time):.1f}" x2="{x(time):.1f}" y1="20" y2="{y}" stroke="{LINE}" stroke-dasharray="2 3"/>'
            f'<text x="{x(time):.1f}" y="14" text-anchor="middle">{time / 1000:g} ms</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {start + WIDTH + 30:.0f} {y + 6}" role="img"'
        f' font-family="ui-monospace, monospace" font-size="11" fill="{INK}">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>'
    )


print(draw(json.load(sys.stdin)))
