"""``comfy-glaze benchmark rating-kit`` and ``comfy-glaze benchmark ratings``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from .options import one_sentence
from .terminal import results


def rating_kit(
    grid: Annotated[
        Path, typer.Argument(metavar="DIR", help="What benchmark mimicry wrote its tables to.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Gets one page for each rater.")] = Path(
        "rating-kit"
    ),
    raters: Annotated[int, typer.Option(min=1, help="How many pages.")] = 10,
    per_rater: Annotated[int, typer.Option(min=1, help="Mimicry attempts on a page.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the choice of pictures and their order.")] = 0,
) -> None:
    """Make pages on which artists judge whether a mimic succeeded.

    Each page is one file that needs no network. Nothing on it tells the scenario; the key lies
    beside the folder and stays with you. The raters send back one CSV file each.
    """
    from ..evaluation.benchmark import ATTEMPTS
    from ..evaluation.rating import key_file, make_kit, read_attempts

    with one_sentence():
        pages = make_kit(read_attempts(grid / ATTEMPTS), out, raters, per_rater, seed)
    results.print(f"{len(pages)} pages: {out}    Key, not to be shared: {key_file(out)}")


def ratings(
    key: Annotated[Path, typer.Argument(metavar="KEY", help="The key beside the kit.")],
    answers: Annotated[list[Path], typer.Argument(metavar="CSV...", help="The raters' files.")],
) -> None:
    """The share of ratings that call the protection successful, for each scenario."""
    from ..evaluation.rating import success_rates

    with one_sentence():
        rates = success_rates(answers, key)
    table = Table("scenario", box=None)
    for column in ("rated successful", "95% interval", "ratings", "raters"):
        table.add_column(column, justify="right")
    for success in rates:
        rate = success.rate
        interval = f"{rate.low:.1%} to {rate.high:.1%}"
        counts = f"{rate.count}", f"{rate.groups}"
        table.add_row(success.scenario, f"{rate.value:.1%}", interval, *counts)
    results.print(table)
