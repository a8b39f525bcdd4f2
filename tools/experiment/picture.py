"""Block recall and captured mass by layer and group, as a small SVG."""

CELL, LEFT, TOP, GAP = 64, 70, 64, 40


def shade(value):
    """White at 0 to a deep orange at 1."""
    low, high = (255, 255, 255), (214, 84, 8)
    value = min(1.0, max(0.0, value))
    return "#" + "".join(f"{round(a + (b - a) * value):02x}" for a, b in zip(low, high))


def panel(of, key, title, x0, out):
    out.append(f'<text x="{x0}" y="{TOP - 22}" font-weight="bold">{title}</text>')
    n_groups = len(next(iter(of.values())))
    for g in range(n_groups):
        x = x0 + g * CELL + CELL / 2
        out.append(f'<text x="{x}" y="{TOP - 6}" text-anchor="middle">group {g}</text>')
    for row, groups in enumerate(of.values()):
        for g, values in enumerate(groups):
            x, y, value = x0 + g * CELL, TOP + row * CELL / 2, values[key]
            ink = "#ffffff" if value > 0.7 else "#20242c"
            out.append(
                f'<rect x="{x}" y="{y}" width="{CELL - 2}" height="{CELL / 2 - 2}" '
                f'fill="{shade(value)}"/>'
            )
            out.append(
                f'<text x="{x + CELL / 2}" y="{y + CELL / 4 + 4}" text-anchor="middle" '
                f'fill="{ink}">{value:.2f}</text>'
            )


def draw_layers(of, title):
    """of: {layer: [{recall, captured, oracle} by group]}."""
    keys = {"recall": "block recall", "captured": "mass captured", "oracle": "mass of best blocks"}
    n_groups = len(next(iter(of.values())))
    step = max(n_groups * CELL, 150) + GAP
    width, height = LEFT + len(keys) * step, TOP + len(of) * CELL // 2 + 16
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="13"><title>{title}</title>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="20" font-size="15">{title}</text>',
    ]
    for row, layer in enumerate(of):
        y = TOP + row * CELL / 2 + CELL / 4 + 4
        out.append(f'<text x="{LEFT - 10}" y="{y}" text-anchor="end">layer {layer}</text>')
    for i, (key, name) in enumerate(keys.items()):
        panel(of, key, name, LEFT + i * step, out)
    return "\n".join([*out, "</svg>", ""])
