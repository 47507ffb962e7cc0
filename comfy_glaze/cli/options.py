"""What several commands take, and how each of them refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .terminal import say

if TYPE_CHECKING:
    from ..candidates import Candidate

EncoderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder",
        metavar="NAME",
        help="Image encoder: embedded, a VAE or checkpoint on disk (folder or .safetensors), "
        "or a hub id.",
    ),
]
MetricOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Perceptual metric: auto, lpips-alex, lpips-vgg, lpips-squeeze, st-lpips-alex, "
        "st-lpips-vgg.",
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps ...")]
SeedOption = Annotated[
    int, typer.Option("--style-seed", help="Draws the target style; the same seed, the same style.")
]
BankOption = Annotated[
    Path | None,
    typer.Option(
        "--bank",
        metavar="FILE",
        help="A style bank for the encoder in use, made by comfy-glaze bank build.",
    ),
]
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
    from ..candidates import STYLE_LISTS, filter_candidates, read_style_list

    found = STYLE_LISTS[name]() if name in STYLE_LISTS else read_style_list(Path(name))
    return filter_candidates(found, genres or (), without_living)


def number(text: str) -> float:
    """A number, or a fraction such as 6/255."""
    try:
        return float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError) as error:
        raise typer.BadParameter(f"expected a number or a fraction, but got {text}") from error


@contextmanager
def one_sentence() -> Iterator[None]:
    """Bad usage ends with the library's own sentence and exit code 2."""
    try:
        yield
    except ValueError as error:
        say(f"Error: {error}", "bold red")
        raise typer.Exit(2) from error


def one_encoder(named: list[str] | None, otherwise: str | None = None) -> str:
    if named and len(named) > 1:
        raise ValueError(f"Expected one --encoder, but got {len(named)}; ensembles are to come.")
    return named[0] if named else otherwise or "embedded"
