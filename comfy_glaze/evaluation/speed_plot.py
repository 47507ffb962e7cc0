"""Shift over gradients, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .drawing import COLOURS, INK, literal, new_figure, style_axes, write_figure
from .speed import TimedCloak

_DASHES = ("-", "--", ":", "-.")


def write_plot(pairs: Sequence[tuple[TimedCloak, TimedCloak]], path: Path) -> None:
    """One PNG: for each picture ``fast`` as a thick line and ``paper`` as a thin one.

    The horizontal axis is logarithmic: the two differ by more than a factor of ten.

    Raises:
        ValueError: matplotlib is not installed.
    """
    figure = new_figure(606, 416)
    from matplotlib.ticker import LogLocator, NullLocator

    axes = figure.add_axes((0, 0, 1, 1))
    style_axes(axes, "Shift over gradients (512 × 512 each)", "both")
    for index, pair in enumerate(pairs):
        look = {
            "color": COLOURS[index % len(COLOURS)],
            "linestyle": _DASHES[index // len(COLOURS) % len(_DASHES)],
        }
        for cloak, width in zip(pair, (3.5, 1), strict=True):
            label = literal(f"{cloak.method}, {cloak.picture}")
            gradients, shifts = [g for g, _ in cloak.curve[1:]], [s for _, s in cloak.curve[1:]]
            axes.plot(gradients, shifts, linewidth=width, label=label, **look)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0)
    axes.set_ylim(0, 1)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, labelcolor=INK, fontsize=10)
    write_figure(figure, path)
