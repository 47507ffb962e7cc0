"""Which styles a command works on, as its options say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..styles.candidates import Candidate

StylesOption = Annotated[
    str,
    typer.Option(
        "--styles",
        metavar="NAME|FILE",
        help="builtin; wikiart: 1,119 painters, each in the style they painted most; wikiart-all: "
        "2,108 pairs of a painter and a style; or your own list, .csv or .yaml.",
    ),
]
GenreOption = Annotated[
    list[str] | None,
    typer.Option("--genre", metavar="GENRE", help="Only styles of this genre; may be repeated."),
]
LivingOption = Annotated[
    bool,
    typer.Option(
        "--without-living",
        help="Leave out artists who may be living: all for whom no year of death was found.",
    ),
]


def candidates_named(
    name: str, genres: list[str] | None, without_living: bool
) -> tuple[Candidate, ...]:
    """The styles of a list, filtered."""
    from ..styles.candidates import STYLE_LISTS, filter_candidates, read_style_list

    found = STYLE_LISTS[name]() if name in STYLE_LISTS else read_style_list(Path(name))
    return filter_candidates(found, genres or (), without_living)
