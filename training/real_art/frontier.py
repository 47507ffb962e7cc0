"""Draw the frontier: how far mimics fall against how visible a cloak is.

    python -m training.real_art.frontier docs/real-art-world/screen*.jsonl

Each point is a kind of cloak: the mean over its artists, with a 95% interval over them where there
are at least two.  Falls are of the share of drawings from prompts in the style, against no cloak,
by the colour judge and by the grey one.  Not every kind was drawn for the same artists.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comfy_glaze.evaluation.drawing import (
    COLOURS,
    FAINT,
    INK,
    new_figure,
    style_axes,
    write_figure,
)
from comfy_glaze.judges.intervals import Interval

from .calibrate import usable
from .judges import SIGHTS
from .screen import NO_CLOAK
from .tables import fall, groups_of, read_lines
from .world import SIDE

SHIPPED = tuple(f"beyond sent latents/{preset}" for preset in ("gallery", "default", "strong"))
"""The presets, as the program uses them."""


def points_of(
    lines: Sequence[dict[str, Any]], sight: str
) -> dict[str, tuple[float, Interval, int]]:
    """By kind: SSIMULACRA2, the fall in points, and how many artists it is of."""
    found = {}
    for (*_, kind), group in groups_of(lines).items():
        lost = None if kind == NO_CLOAK else fall(group, lines, "prompts", sight)
        if lost is not None:
            seen = sum(line["cloaks"]["ssimulacra2"] for line in group) / len(group)
            artists = len({line["cell"]["artist"] for line in group})
            found[kind] = (seen, lost["points"], artists)
    return found


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description="Draw falls against visibility.")
    parser.add_argument("lines", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("docs/real-art-world/frontier.png"))
    options = parser.parse_args()
    lines = usable(read_lines(options.lines))
    lines = [line for line in lines if line["cell"]["side"] == SIDE]
    figure = new_figure(1300, 620)
    axes = figure.subplots(1, len(SIGHTS), sharey=True)
    drawn = {sight: points_of(lines, sight) for sight in SIGHTS}
    kinds = sorted(drawn[SIGHTS[0]], key=lambda kind: -drawn[SIGHTS[0]][kind][0])
    for axis, sight in zip(axes, SIGHTS, strict=True):
        for number, kind in enumerate(kinds, start=1):
            seen, lost, artists = drawn[sight][kind]
            colour = COLOURS[1] if kind in SHIPPED else COLOURS[0]
            apart = [[lost.value - lost.low], [lost.high - lost.value]] if artists > 1 else None
            axis.errorbar(seen, lost.value, yerr=apart, fmt="o", color=colour, alpha=0.7)
            axis.annotate(str(number), (seen, lost.value), (5, 3), textcoords="offset points")
        axis.axhline(0, color=INK, linewidth=0.6)
        axis.invert_xaxis()
        axis.set_xlabel("SSIMULACRA2: the cloak shows more to the right")
        style_axes(axis, f"{sight} judge: fall in points", "both")
    words = [
        f"{number}  {kind} ({drawn[SIGHTS[0]][kind][2]})" for number, kind in enumerate(kinds, 1)
    ]
    figure.subplots_adjust(right=0.74)
    figure.text(0.76, 0.9, "\n".join(words), va="top", color=INK, fontsize=9, linespacing=1.5)
    figure.text(0.76, 0.93, "kind of cloak (artists)", color=INK, fontsize=9, backgroundcolor=FAINT)
    write_figure(figure, options.out)


if __name__ == "__main__":
    main()
