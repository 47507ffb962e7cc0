"""What the command line shows: sentences, progress and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..formats import named

if TYPE_CHECKING:
    from ..style_bank import Style
    from ..target_style import TargetStyle

results = Console()
log = Console(stderr=True)


def say(sentence: str, style: str) -> None:
    """One line on standard error, as it is: nothing in it is markup, and nothing breaks it."""
    log.print(sentence, style=style, markup=False, highlight=False, soft_wrap=True)


def progress_bar() -> Progress:
    """Bars with the time left; each task has a ``note``."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        console=log,
        transient=True,
    )


def choice_sentence(target: TargetStyle) -> str:
    """Which style was chosen, and where it lies."""
    where = (
        f" (distance {target.distance:.2f}, percentile {target.percentile:.0f})"
        if target.distance is not None and target.percentile is not None
        else ""
    )
    return f"Target style: {target.style.name}, {target.style.genre}{where}."


def lost_sentence(report: dict[str, Any]) -> str | None:
    """What to say when a lossy file does not hold as much of the cloak as was asked."""
    encoded = report.get("encoded")
    if encoded is None or encoded["survived"]:
        return None
    before, after = report["shift"]["512"], encoded["shift"]["512"]
    output = report["output"]
    return (
        f"{named(output['file'])}: {output['format'].upper()} at quality {output['quality']} keeps "
        f"{after / before:.0%} of the cloak's shift, {encoded['keep_shift']:.0%} were asked. "
        "PNG, TIFF and WebP at quality 100 keep all of it."
    )


def results_table(reports: Sequence[dict[str, Any]]) -> Table:
    """One row per cloaked picture, as measured in the saved file."""
    table = Table("picture", box=None, pad_edge=False)
    for column in ("shift", "perceptual", "L∞", "PSNR", "seconds"):
        table.add_column(column, justify="right")
    for report in reports:
        final = report.get("encoded", report)
        value, psnr = final["perceptual"]["value"], final["psnr"]
        table.add_row(
            escape(named(report["output"]["file"])),
            f"{final['shift']['512']:.3f}",
            "-" if value is None else f"{value:.4f}",
            f"{final['linf'] * 255:.0f}/255",
            "-" if psnr is None else f"{psnr:.1f} dB",
            f"{report['seconds']['total']:.1f}",
        )
    return table


def styles_table(styles: Sequence[Style]) -> Table:
    """Styles by name."""
    table = Table("style", "genre", "artist", "drawn without a checkpoint", box=None)
    for style in styles:
        embedded = "yes" if style.embedded is not None else "no"
        table.add_row(style.name, style.genre, style.artist or "-", embedded)
    return table


def ranking_table(ranked: Sequence[TargetStyle], band: set[str]) -> Table:
    """Styles from near to far, with a mark on those in the band."""
    table = Table("style", "genre", box=None)
    for column in ("distance", "percentile", "in the band"):
        table.add_column(column, justify="right")
    for candidate in ranked:
        table.add_row(
            candidate.style.name,
            candidate.style.genre,
            f"{candidate.distance:.3f}",
            f"{candidate.percentile:.0f}",
            "●" if candidate.style.name in band else "",
        )
    return table
