"""Small SVG pictures: mass by layer and group, and a share over lengths."""

import math
from html import escape

CELL, LEFT, TOP, GAP = 64, 70, 64, 40
COLOURS = ["#8a94a6", "#e0590b", "#1f77b4", "#2ca02c", "#9467bd", "#c9a400", "#d6277b", "#17becf"]


def begin(width, height, title):
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="13"><title>{escape(title)}</title>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="20" font-size="15">{escape(title)}</text>',
    ]


# ---- by layer and group --------------------------------------------------------------------------


def shade(value):
    """White at 0 to a deep orange at 1."""
    low, high = (255, 255, 255), (214, 84, 8)
    value = min(1.0, max(0.0, value))
    return "#" + "".join(f"{round(a + (b - a) * value):02x}" for a, b in zip(low, high))


def panel(of, key, title, x0, out):
    out.append(f'<text x="{x0}" y="{TOP - 22}" font-weight="bold">{title}</text>')
    for g in range(len(next(iter(of.values())))):
        x = x0 + g * CELL + CELL / 2
        out.append(f'<text x="{x}" y="{TOP - 6}" text-anchor="middle">group {g}</text>')
    for row, groups in enumerate(of.values()):
        for g, values in enumerate(groups):
            x, y, value = x0 + g * CELL, TOP + row * CELL / 2, values[key]
            out.append(
                f'<rect x="{x}" y="{y}" width="{CELL - 2}" height="{CELL / 2 - 2}" '
                f'fill="{shade(value)}"/><text x="{x + CELL / 2}" y="{y + CELL / 4 + 4}" '
                f'text-anchor="middle" fill="{"#ffffff" if value > 0.7 else "#20242c"}">'
                f"{value:.2f}</text>"
            )


def draw_layers(of, title):
    """of: {layer: [{recall, captured, oracle} by group]}."""
    keys = {"recall": "block recall", "captured": "mass captured", "oracle": "mass of best blocks"}
    step = max(len(next(iter(of.values()))) * CELL, 150) + GAP
    out = begin(LEFT + len(keys) * step, TOP + len(of) * CELL // 2 + 16, title)
    for row, layer in enumerate(of):
        y = TOP + row * CELL / 2 + CELL / 4 + 4
        out.append(f'<text x="{LEFT - 10}" y="{y}" text-anchor="end">layer {layer}</text>')
    for i, (key, name) in enumerate(keys.items()):
        panel(of, key, name, LEFT + i * step, out)
    return "\n".join([*out, "</svg>", ""])


# ---- over lengths --------------------------------------------------------------------------------


def draw_lines(lines, title, over, marks):
    """lines: [(name, [(x, share, (low, high) or None)])]; x on a logarithmic scale; marks:
    {name: x}, such as the keys that a query reads."""
    width, height, right, bottom = 860, 400, 190, 56
    xs = sorted({p[0] for _, points in lines for p in points} | set(marks.values()))
    low, high = math.log(xs[0]), math.log(max(xs[-1], xs[0] + 1))

    def x_of(n):
        return LEFT + (width - LEFT - right) * (math.log(n) - low) / (high - low)

    def y_of(share):
        return height - bottom - (height - TOP - bottom) * share

    out = begin(width, height, title)
    for tenth in range(0, 11, 2):
        y = y_of(tenth / 10)
        out.append(f'<path d="M{LEFT} {y:.1f}H{width - right}" stroke="#e3e6eb"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10 * tenth}</text>')
    for n in sorted({p[0] for _, points in lines for p in points}):
        y = height - bottom + 18
        out.append(f'<text x="{x_of(n):.1f}" y="{y}" text-anchor="middle">{n}</text>')
    out.append(f'<text x="{LEFT}" y="{height - 12}">{escape(over)}</text>')
    for name, n in marks.items():
        x = x_of(n)
        out.append(
            f'<path d="M{x:.1f} {TOP}V{height - bottom}" stroke="#20242c" stroke-dasharray="4"/>'
        )
        out.append(f'<text x="{x + 4:.1f}" y="{TOP - 6}">{escape(name)}</text>')
    for i, (name, points) in enumerate(lines):
        colour = COLOURS[i % len(COLOURS)]
        path = "L".join(f"{x_of(n):.1f} {y_of(share):.1f}" for n, share, _ in points)
        out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        for n, share, interval in points:
            x = x_of(n) + 2 * i - len(lines)  # so that whiskers stand side by side
            if interval:
                top, foot = y_of(interval[1]), y_of(interval[0])
                out.append(f'<path d="M{x:.1f} {top:.1f}V{foot:.1f}" stroke="{colour}"/>')
            out.append(f'<circle cx="{x:.1f}" cy="{y_of(share):.1f}" r="3" fill="{colour}"/>')
        y = TOP + 14 + 18 * i
        out.append(f'<path d="M{width - right + 16} {y}h20" stroke="{colour}" stroke-width="3"/>')
        out.append(f'<text x="{width - right + 42}" y="{y + 4}">{escape(name)}</text>')
    return "\n".join([*out, "</svg>", ""])
