"""What the command line shows: sentences, progress and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..files.formats import named

if TYPE_CHECKING:
    from ..countermeasures.retention import Retention
    from ..styles.target import TargetStyle

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
    output, one = report["output"], "poison" if report.get("poison") else "cloak"
    return (
        f"{named(output['file'])}: {output['format'].upper()} at quality {output['quality']} keeps "
        f"{after / before:.0%} of the {one}'s shift, {encoded['keep_shift']:.0%} were asked. "
        "PNG, TIFF and WebP at quality 100 keep all of it."
    )


def remarks_of(report: dict[str, Any], name: str) -> list[str]:
    """What a report says of a file's size and of what is left behind, a line each."""
    size = report["bytes"]
    grown = f"{size['before']:,} bytes became {size['after']:,}. " if size["before"] else ""
    said = [*report["remarks"], *([grown + size["reason"]] if size["reason"] else [])]
    return [f"{named(name)}: {sentence}" for sentence in said]


FAR_ENOUGH = 0.6
"""The shift below which models of the small world still drew in the artist's style
(``docs/small-world.md``, "How far is far enough")."""


def short_sentence(reports: Sequence[dict[str, Any]]) -> str | None:
    """What to say when cloaks stay short of :data:`FAR_ENOUGH`, as a preset's usually do."""
    mean = fmean(report.get("encoded", report)["shift"]["512"] for report in reports)
    if mean >= FAR_ENOUGH:
        return None
    return (
        f"The shift is {mean:.2f} on average. Below {FAR_ENOUGH:.1f}, models that this project "
        "trained in a small world still drew in the artist's style. --preset strong --uniform "
        "goes farther and shows more."
    )


def results_table(reports: Sequence[dict[str, Any]]) -> Table:
    """One row per cloaked picture, as measured in the saved file: reports, each with the picture's
    ``name`` below the output folder."""
    table = Table("picture", box=None, pad_edge=False)
    for column in ("shift", "perceptual", "L∞", "PSNR", "seconds"):
        table.add_column(column, justify="right")
    for report in reports:
        final = report.get("encoded", report)
        value, psnr = final["perceptual"]["value"], final["psnr"]
        table.add_row(
            escape(named(report["name"])),
            f"{final['shift']['512']:.3f}",
            "-" if value is None else f"{value:.4f}",
            f"{final['linf'] * 255:.0f}/255",
            "-" if psnr is None else f"{psnr:.1f} dB",
            f"{report['seconds']['total']:.1f}",
        )
    return table


def retention_table(rows: Sequence[Retention]) -> Table:
    """What one cloak keeps under each countermeasure."""
    table = Table("countermeasure", box=None, pad_edge=False)
    for column in ("shift left", "worst seed", "retention"):
        table.add_column(column, justify="right")
    for row in rows:
        worst = f"{min(row.shifts):.3f}" if len(row.shifts) > 1 else "-"
        table.add_row(row.case.label, f"{row.shift:.3f}", worst, f"{row.retention:.2f}")
    return table


def kept_table(
    rows: Sequence[tuple[str, Mapping[str, float]]], untouched: Mapping[tuple[str], float]
) -> Table:
    """The mean shift that is left of each kind of cloak."""
    names = list(rows[0][1])
    table = Table("countermeasure", box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right")
    table.add_row("none", *(f"{untouched[(name,)]:.3f}" for name in names))
    for label, values in rows:
        table.add_row(label, *(f"{values[name]:.3f}" for name in names))
    return table


def cloaks_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One row for each picture and preset: shift, visibility, and what everyday changes leave."""
    table = Table("picture", "preset", "robustness", box=None, pad_edge=False)
    columns = {
        "shift_512": "shift",
        "ssimulacra2": "SSIMULACRA2",
        "flip": "FLIP",
        "flat_delta_e": "even ΔE",
        "colour_cast": "cast ΔE",
    }
    columns |= {key: key for key in rows[0] if key.startswith("kept ")}
    for column in columns.values():
        table.add_column(column, justify="right")
    for row in rows:
        values = ("-" if row[key] is None else f"{row[key]:.3f}" for key in columns)
        table.add_row(row["picture"], row["preset"], row["robustness"], *values)
    return table
