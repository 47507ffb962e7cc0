"""What the command line shows: sentences, progress and tables."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
_FAILURES = ("red", "bold red")


def speak(quiet: bool = False, as_json: bool = False) -> None:
    """How the command at hand talks.

    Args:
        quiet: only of failures.
        as_json: so that nothing but JSON goes to standard output.
    """
    results.quiet, results.stderr = quiet, as_json


def say(sentence: str, style: str) -> None:
    """One line on standard error, as it is: nothing in it is markup, and nothing breaks it."""
    if results.quiet and style not in _FAILURES:
        return
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
        disable=results.quiet or not log.is_terminal,
    )


def print_json(value: Any) -> None:
    """A value on standard output as JSON, whatever else is said."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False) + "\n")


def counted(number: int, thing: str) -> str:
    """A number of things: ``1 picture``, ``12 pictures``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def duration(seconds: float) -> str:
    """A time as one would say it: 40 seconds, 12 minutes, 3 hours."""
    if seconds < 90:
        return counted(max(1, round(seconds)), "second")
    if seconds < 90 * 60:
        return counted(round(seconds / 60), "minute")
    return counted(round(seconds / 3600), "hour")


def megabytes(size: float) -> str:
    """A number of bytes, in units of a thousand, a million or a thousand million."""
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


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


TOO_WEAK = ("none", "weak")
"""The verdicts of cloaks that are not enough."""

_NAMED = 10  # weak pictures that the summary names; the page has all of them


def verdict_sentences(verdicts: Mapping[str, Mapping[str, str] | None]) -> Iterator[str]:
    """How many pictures have which verdict, a sentence for each weak one, and what to try.

    Args:
        verdicts: by picture, as in its report; None for one that has none.
    """
    counts = Counter(verdict["level"] for verdict in verdicts.values() if verdict)
    if not counts:
        return
    levels = [f"{counts[level]} {level}" for level in ("good", "fair", *TOO_WEAK[::-1])]
    yield f"Verdicts: {', '.join(words for words in levels if not words.startswith('0 '))}."
    weak = {
        name: verdict
        for name, verdict in verdicts.items()
        if verdict and verdict["level"] in TOO_WEAK
    }
    for name, verdict in list(weak.items())[:_NAMED]:
        yield f"{verdict['level']}: {named(name)}. {verdict['sentence']}"
    if len(weak) > _NAMED:
        yield f"{len(weak) - _NAMED} more are too weak; the reports' index.html shows them first."
    advices = Counter(verdict["try"] for verdict in weak.values() if verdict["try"])
    for advice, count in advices.most_common():
        yield advice if count == len(weak) else f"For {count} of them: {advice}"


def results_table(reports: Mapping[str, dict[str, Any]]) -> Table:
    """One row per cloaked picture, as measured in the saved file.

    Args:
        reports: by the picture's name below the output folder.
    """
    table = Table("picture", "verdict", box=None, pad_edge=False)
    for column in ("effect", "shift", "perceptual", "L∞", "PSNR", "seconds"):
        table.add_column(column, justify="right")
    for name, report in reports.items():
        final, verdict = report.get("encoded", report), report["verdict"]
        effect = report["effect"]
        value, psnr = final["perceptual"]["value"], final["psnr"]
        table.add_row(
            escape(named(name)),
            verdict["level"] if verdict else "-",
            f"{effect['value']:.0%}" if effect else "-",
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
