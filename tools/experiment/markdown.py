"""How numbers, tables and commands are written."""

import math


def number(value, unit, digits=None):
    if math.isinf(value):
        return "diverged"
    if unit == "share":
        return f"{100 * value:.{1 if digits is None else digits}f}"
    if unit == "count":
        return f"{value:.{1 if digits is None else digits}f}"
    if unit == "norm":
        return f"{value:.3g}"
    return f"{value:.{3 if digits is None else digits}f}"


def with_interval(mean, interval, unit, digits=None):
    text = number(mean, unit, digits)
    if interval is None or math.isinf(mean):
        return text
    return f"{text} [{number(interval[0], unit, digits)}, {number(interval[1], unit, digits)}]"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def anchor(name):
    return f"[{name}](#{name.replace(' ', '-')})"
