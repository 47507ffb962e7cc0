"""What is left of a cloak under each countermeasure, drawn as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .drawing import COLOURS, INK, literal, new_figure, style_axes, write_figure

_BAR, _BETWEEN = 16, 8  # px


def write_bars(title: str, rows: Sequence[tuple[str, Mapping[str, float]]], path: Path) -> None:
    """For each row a bar per column, from 0 to 1, as a PNG.

    Args:
        title: what the bars' length means.
        rows: (label, value by column), drawn in this order.

    Raises:
        ValueError: matplotlib is not installed.
    """
    columns = list(rows[0][1])
    tall = _BAR * len(columns) + _BETWEEN
    figure = new_figure(560, tall * len(rows))
    axes = figure.add_axes((0, 0, 1, 1))
    style_axes(axes, title, "x", above=42)
    for index, name in enumerate(columns):
        places = [tall * row + _BAR * index for row in range(len(rows))]
        shown = [min(max(values[name], 0.0), 1.0) for _, values in rows]
        colour = COLOURS[index % len(COLOURS)]
        bars = axes.barh(places, shown, _BAR - 2, align="edge", color=colour, label=literal(name))
        numbers = [f"{values[name]:.2f}" for _, values in rows]
        axes.bar_label(bars, numbers, padding=5, color=INK, size=9)
    middles = [tall * row + (_BAR * len(columns) - 2) / 2 for row in range(len(rows))]
    axes.set_yticks(middles, [literal(label) for label, _ in rows])
    axes.set_ylim(tall * len(rows) - _BETWEEN / 2, -_BETWEEN / 2)
    axes.set_xlim(0, 1)
    axes.xaxis.tick_top()
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1 + 28 / (tall * len(rows))), borderaxespad=0,
        borderpad=0, frameon=False, ncols=len(columns), labelcolor=INK, fontsize=10,
    )  # fmt: skip
    write_figure(figure, path)
