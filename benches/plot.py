"""A plot of lines with logarithms on both axes, as SVG."""

import html
import math

WIDTH, HEIGHT, LEFT, TOP, RIGHT = 720, 300, 70, 34, 20
COLOURS = ["#0b5fff", "#d9480f", "#2b8a3e", "#862e9c", "#c2255c", "#5f3dc4", "#495057"]
OURS = ["#0b5fff", "#339af0", "#1864ab"]


def plot(title, lines):
    """`lines`: a name to points of size and nanoseconds."""
    xs = [n for points in lines.values() for n, _ in points]
    ys = [ns for points in lines.values() for _, ns in points]
    low_x, high_x = math.log10(min(xs)), math.log10(max(xs))
    low_y, high_y = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)) + 1e-9)
    x = lambda n: LEFT + (math.log10(n) - low_x) / max(high_x - low_x, 1e-9) * (WIDTH - LEFT - RIGHT)
    y = lambda ns: TOP + (high_y - math.log10(ns)) / max(high_y - low_y, 1) * (HEIGHT - TOP - 40)
    full = HEIGHT + 18 * len(lines) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{full}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{full}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{html.escape(title)}: nanoseconds, by n</text>',
    ]
    for power in range(low_y, high_y + 1):
        at = y(10**power)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#dee2e6"/>')
        out.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{10**power:,g}</text>')
    for n in sorted(set(xs)):
        out.append(f'<text x="{x(n):.1f}" y="{HEIGHT - 18}" text-anchor="middle">{n:,}</text>')
    ours, others = iter(OURS * 3), iter(COLOURS[1:] * 3)
    for i, (name, points) in enumerate(lines.items()):
        mine = name.startswith("moored")
        colour, width = (next(ours), 3) if mine else (next(others), 1.5)
        path = " ".join(f"{x(n):.1f},{y(ns):.1f}" for n, ns in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        out += [f'<circle cx="{x(n):.1f}" cy="{y(ns):.1f}" r="3" fill="{colour}"/>' for n, ns in points]
        at = HEIGHT + 18 * i
        out.append(f'<rect x="{LEFT}" y="{at}" width="14" height="10" fill="{colour}"/>')
        out.append(f'<text x="{LEFT + 20}" y="{at + 10}">{html.escape(name)}</text>')
    return "\n".join(out + ["</svg>", ""])
