#!/usr/bin/env python3
"""Draws a recorded timeline as SVG: a row for each task, a bar for each region and each exit.

    cargo run --example hanging --features inspect -- --timeline | python3 docs/timeline.py > src/guide/timeline.svg

Reads what `inspect::Timeline::to_trace_json` writes. Bars that overlap stand below each other; what was open at the end of
the recording has no right edge, and exits are hatched in another colour.
"""

import json
import sys
from html import escape

LEFT, WIDTH, LANE, GAP = 150, 760, 19, 9
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


def draw(trace):
    everything = list(rows(trace["traceEvents"]))
    last = max(bar["ts"] + bar["dur"] for _, bars in everything for bar in bars) or 1
    x = lambda time: LEFT + time * WIDTH / last
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
                f'<text x="{left + 5:.1f}" y="{top + 12}">{escape(bar["name"] + (" …" if is_open else ""))}</text></g>'
            )
        y += height + GAP
        parts.append(f'<line x1="8" x2="{LEFT + WIDTH}" y1="{y - GAP // 2}" y2="{y - GAP // 2}" stroke="{LINE}"/>')
    for tick in range(6):
        time = last * tick / 5
        parts.append(
            f'<line x1="{x(time):.1f}" x2="{x(time):.1f}" y1="20" y2="{y}" stroke="{LINE}" stroke-dasharray="2 3"/>'
            f'<text x="{x(time):.1f}" y="14" text-anchor="{"end" if tick == 5 else "middle"}">{time / 1000:.0f} ms</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 10} {y + 6}" role="img"'
        f' font-family="ui-monospace, monospace" font-size="11" fill="{INK}">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>'
    )


print(draw(json.load(sys.stdin)))
