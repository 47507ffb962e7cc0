"""``comfy-glaze styles``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import DeviceOption, EncoderOption, one_encoder, one_sentence
from .terminal import ranking_table, results, styles_table

styles_app = typer.Typer(no_args_is_help=True, help="The styles that a cloak can lead towards.")


@styles_app.command("list")
def list_styles() -> None:
    """List the built-in styles."""
    from ..style_bank import builtin_styles

    results.print(styles_table(builtin_styles()))


@styles_app.command("rank")
def rank_styles_command(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="FILE_OR_FOLDER...", help="The artist's works, five or more."),
    ],
    encoder: EncoderOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Rank the styles by their distance from an artist's own works.

    The target style is drawn among those between the 50th and the 75th percentile.
    """
    from ..artwork import find_artworks
    from ..builtin_bank import builtin_bank
    from ..encoders import load_encoder
    from ..portfolio import choose_device, rank_works
    from ..target_style import in_band

    with one_sentence():
        found = [source for source, _ in find_artworks(sources)]
        phi = load_encoder(one_encoder(encoder), choose_device(device))
        ranked = rank_works(builtin_bank(phi), found, phi)
    band = {candidate.style.name for candidate in in_band(ranked)}
    results.print(ranking_table(ranked, band))
