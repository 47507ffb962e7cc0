"""What the command line shows: sentences, progress and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
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


def results_table(reports: Sequence[dict[str, Any]]) -> Table:
    """One row per cloaked picture, as measured in the saved file."""
    table = Table("picture", box=None, pad_edge=False)
    for column in ("shift", "perceptual", "L∞", "PSNR", "seconds"):
        table.add_column(column, justify="right")
    for report in reports:
        final = report.get("encoded", report)
        value, psnr = final["perceptual"]["value"], final["psnr"]
        table.add_row(
            escape(report["output"]["file"].replace("\n", " ")),
            f"{final['shift']['512']:.3f}",
            "-" if value is None else f"{value:.4f}",
            f"{final['linf'] * 255:.0f}/255",
            "-" if psnr is None else f"{psnr:.1f} dB",
            f"{report['seconds']['total']:.1f}",
        )
    return table
