"""Styles on the terminal: lists, the ranking, and where the band lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from .terminal import say

if TYPE_CHECKING:
    from ..styles.bank import Style, StyleBank
    from ..styles.memory import RememberedChoice
    from ..styles.target import TargetStyle

CHART_COLUMNS = 50
SHOWN_AT_ONCE = 60
_BARS = " ▁▂▃▄▅▆▇█"


def warn_of_few_works(count: int) -> None:
    """Say so when an artist's centroid rests on fewer than five works."""
    from ..styles.target import WORKS_FOR_A_STYLE

    if count < WORKS_FOR_A_STYLE:
        works = "one work" if count == 1 else f"{count} works"
        say(
            f"Only {works}: your own style is better placed from {WORKS_FOR_A_STYLE} or more, "
            "and so is the choice of a target.",
            "yellow",
        )


def styles_table(styles: Sequence[Style]) -> Table:
    """Styles by name."""
    table = Table("style", "genre", "artist", "drawn without a checkpoint", box=None)
    for style in styles:
        embedded = "yes" if style.embedded is not None else "no"
        table.add_row(*map(escape, (style.name, style.genre, style.artist or "-")), embedded)
    return table


def ranking_table(ranked: Sequence[TargetStyle], band: set[str], show_all: bool) -> Table:
    """Styles from near to far, with a mark on those in the band.

    Of long rankings only the nearest ten, the first twenty of the band and the farthest five are
    shown, unless all are asked for.
    """
    table = Table("style", "genre", box=None)
    for column in ("distance", "percentile", "in the band"):
        table.add_column(column, justify="right")
    places = range(len(ranked))
    in_band = [i for i in places if ranked[i].style.name in band]
    short = {*places[:10], *in_band[:20], *places[-5:]}
    shown = list(places) if show_all or len(ranked) <= SHOWN_AT_ONCE else sorted(short)
    last = -1
    for i in shown:
        if i != last + 1:
            table.add_row(f"... {i - last - 1} more", "", "", "", "")
        last, candidate = i, ranked[i]
        table.add_row(
            escape(candidate.style.name),
            escape(candidate.style.genre),
            f"{candidate.distance:.3f}",
            f"{candidate.percentile:.0f}",
            "●" if candidate.style.name in band else "",
        )
    return table


def band_chart(ranked: Sequence[TargetStyle], low: float, high: float) -> Text:
    """How many styles lie how far away, in one line of bars; the band's are bright and underlined.

    Below the bars stand the smallest distance, the ends of the band, and the largest.
    """
    import numpy as np

    distances = np.array([candidate.distance for candidate in ranked], dtype=float)
    counts, edges = np.histogram(distances, bins=CHART_COLUMNS)
    bottom, top = np.percentile(distances, [low, high])
    text = Text("styles    ")
    for count, (left, right) in zip(counts, pairwise(edges), strict=True):
        height = int(np.ceil(count / counts.max() * (len(_BARS) - 1)))
        inside = right >= bottom and left <= top
        text.append(_BARS[height], style="bold green" if inside else "dim")
    text.append("\nband      ")
    for left, right in pairwise(edges):
        text.append("━" if right >= bottom and left <= top else " ", style="bold green")
    text.append(
        f"\ndistance  {distances.min():.3f} to {distances.max():.3f}; percentiles {low:g} to "
        f"{high:g}: {bottom:.3f} to {top:.3f}"
    )
    return text


def bank_table(bank: StyleBank, size: int) -> Table:
    """What a bank is made of."""
    genres = Counter(style.genre for style in bank.styles).most_common()
    table = Table(box=None, show_header=False)
    for label, value in (
        ("encoder", f"{bank.encoder_name} ({bank.fingerprint})"),
        ("styles", f"{len(bank.styles):,}"),
        ("thumbnails", f"{len(bank.thumbnails):,}"),
        ("centroids", f"{bank.statistic}, {bank.centroids.shape[1]:,} values each"),
        ("size", f"{size / 1e6:.2f} MB"),
        ("genres", ", ".join(f"{genre} {count}" for genre, count in genres)),
    ):
        table.add_row(label, escape(value))
    return table


def remembered_table(choices: Sequence[RememberedChoice]) -> Table:
    """The target style of each artist."""
    table = Table("artist", "target style", "genre", "percentile", "chosen with", box=None)
    for choice in choices:
        percentile = choice.target.percentile
        table.add_row(
            escape(choice.artist),
            escape(choice.target.style.name),
            escape(choice.target.style.genre),
            "-" if percentile is None else f"{percentile:.0f}",
            escape(choice.encoder or "by name"),
        )
    return table
