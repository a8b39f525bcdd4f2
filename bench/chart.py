#!/usr/bin/env python3
"""Draws docs/time.svg, time against context length, from what `msa bench attn --json` printed.

build/msa bench attn --json > bench.json && python3 bench/chart.py bench.json docs/time.svg
"""

import json
import math
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 420, 80, 190, 56, 60
LINES = {"dense": ("dense", "#8a94a6"), "msa": ("MSA", "#e0590b")}


def series(rows, op):
    """{attn: [(n, ms per query)]} of the rows of a whole layer: op "decode" or "prefill"."""
    found = {}
    for row in rows:
        if row["op"] == op and row["attn"] in LINES:
            found.setdefault(row["attn"], []).append(
                (row["n"], row["time_us"] / row["queries"] / 1000)
            )
    return {name: sorted(points) for name, points in found.items()}


def panel(data, title, x0, width, out):
    points = [p for line in data.values() for p in line]
    low_n, high_n = min(p[0] for p in points), max(p[0] for p in points)
    low = 10 ** math.floor(math.log10(min(p[1] for p in points)))
    high = 10 ** math.ceil(math.log10(max(p[1] for p in points)))

    def x(n):
        return x0 + width * math.log(n / low_n) / math.log(high_n / low_n)

    def y(t):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(t / low) / math.log(high / low)

    out.append(f'<text x="{x0}" y="{TOP - 18}" font-size="15" font-weight="bold">{title}</text>')
    t = low
    while t <= high * 1.001:
        out.append(f'<path d="M{x0} {y(t):.1f}H{x0 + width}" stroke="#e3e6eb"/>')
        out.append(f'<text x="{x0 - 8}" y="{y(t) + 4:.1f}" text-anchor="end">{t:g} ms</text>')
        t *= 10
    for n in sorted({p[0] for p in points}):
        label = f"{n // 1024}K" if n < 1 << 20 else f"{n >> 20}M"
        out.append(
            f'<text x="{x(n):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{label}</text>'
        )
    for name, line in data.items():
        label, colour = LINES[name]
        path = "L".join(f"{x(n):.1f} {y(t):.1f}" for n, t in line)
        out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        for n, t in line:
            out.append(f'<circle cx="{x(n):.1f}" cy="{y(t):.1f}" r="3.5" fill="{colour}"/>')
        n, t = line[-1]
        out.append(
            f'<text x="{x(n) + 8:.1f}" y="{y(t) + 4:.1f}" fill="{colour}">{label} {t:.3g} ms</text>'
        )


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        report = json.load(file)
    decode, prefill = series(report["rows"], "decode"), series(report["rows"], "prefill")
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#333">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    width = (WIDTH - LEFT - RIGHT - 190) / 2
    panel(decode, "Decode: one query", LEFT, width, out)
    panel(prefill, "Prefill: a query of a chunk", LEFT + width + 190, width, out)
    machine = report["machine"]
    out.append(
        f'<text x="{LEFT}" y="{HEIGHT - 12}" fill="#667">attention of one layer of '
        f'MiniMax-M3\'s shape, by context length; {machine["cpu"]}, {machine["isa"]}, '
        f'{machine["threads"]} thread{"s" * (machine["threads"] != 1)}</text></svg>'
    )
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
