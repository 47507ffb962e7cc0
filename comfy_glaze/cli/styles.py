"""``comfy-glaze styles``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .model_names import check_model_names
from .options import BankOption, DeviceOption, EncoderOption, encoders_of, one_sentence
from .style_lists import GenreOption, LivingOption, StylesOption, candidates_named
from .style_tables import (
    band_chart,
    ranking_table,
    remembered_table,
    styles_table,
    warn_of_few_works,
)
from .terminal import results, say

styles_app = typer.Typer(no_args_is_help=True, help="The styles that a cloak can lead towards.")

ArtistArgument = Annotated[str, typer.Argument(metavar="ARTIST", help="The artist's name.")]


@styles_app.command("list")
def list_styles(
    styles: StylesOption = "builtin",
    genre: GenreOption = None,
    without_living: LivingOption = False,
) -> None:
    """List styles."""
    with one_sentence():
        candidates = candidates_named(styles, genre, without_living)
    results.print(styles_table([candidate.style for candidate in candidates]))


@styles_app.command("rank")
def rank_styles_command(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="FILE_OR_FOLDER...", help="The artist's works, five or more."),
    ],
    encoder: EncoderOption = None,
    bank: BankOption = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every style of a long ranking.")
    ] = False,
    device: DeviceOption = "auto",
) -> None:
    """Rank the styles by their distance from an artist's own works.

    The target style is drawn among those between the 50th and the 75th percentile.
    """
    from ..devices import choose_device
    from ..files.finding import find_artworks
    from ..networks.ensemble import load_encoders
    from ..styles.builtin_bank import bank_for
    from ..styles.target import HIGH, LOW, in_band
    from ..styles.works import rank_works

    with one_sentence():
        check_model_names(*(encoder or ()))
        found = [source for source, _ in find_artworks(sources)]
        phi = load_encoders(encoders_of(encoder), choose_device(device))
        ranked = rank_works(bank_for(phi, file=bank), found, phi)
    band = {candidate.style.name for candidate in in_band(ranked)}
    results.print(ranking_table(ranked, band, show_all))
    results.print(band_chart(ranked, LOW, HIGH), soft_wrap=True)
    warn_of_few_works(len(found))


@styles_app.command()
def remembered() -> None:
    """Show the target style that is remembered for each artist."""
    from ..styles.memory import memory_file, remembered_choices

    with one_sentence():
        choices = remembered_choices()
    if choices:
        results.print(remembered_table(choices))
        results.print(f"Kept in {memory_file()}", soft_wrap=True, markup=False)
    else:
        say("No target style is remembered yet.", "none")


@styles_app.command()
def remember(
    artist: ArtistArgument,
    style: Annotated[str, typer.Argument(metavar="STYLE", help="The style's name.")],
    bank: BankOption = None,
) -> None:
    """Choose, or change, the target style of an artist's work by name.

    Works that were cloaked towards another style do not change: cloak them again.
    """
    from ..styles.bank_file import load_style_bank
    from ..styles.candidates import find_known_style
    from ..styles.memory import remember_choice, remembered_choice
    from ..styles.target import TargetStyle

    with one_sentence():
        others = load_style_bank(bank).styles if bank else ()
        chosen = find_known_style(style, others)
        before = remembered_choice(artist)
        remember_choice(artist, TargetStyle(chosen, distance=None, percentile=None))
    was = f" It was {before.target.style.name}." if before is not None else ""
    say(f"The target style of {artist} is now {chosen.name}.{was}", "none")


@styles_app.command()
def forget(artist: ArtistArgument) -> None:
    """Forget the target style of an artist; the next cloak chooses one anew."""
    from ..styles.memory import forget_choice

    with one_sentence():
        before = forget_choice(artist)
    if before is None:
        say(f"Nothing is remembered for {artist}.", "none")
        raise typer.Exit(1)
    say(f"Forgot that the target style of {before.artist} was {before.target.style.name}.", "none")
