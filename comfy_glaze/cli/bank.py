"""``comfy-glaze bank``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .model_names import check_model_names
from .options import DeviceOption, EncoderOption, encoders_of, one_sentence
from .style_lists import GenreOption, LivingOption, StylesOption, candidates_named
from .style_tables import bank_table
from .terminal import progress_bar, results, say

if TYPE_CHECKING:
    import torch

    from ..styles.bank import Style
    from ..styles.bank_build import PictureSource
    from ..styles.candidates import Candidate

bank_app = typer.Typer(
    no_args_is_help=True, help="Style banks: where styles lie in an encoder's feature space."
)


@bank_app.command()
def build(
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Pictures to learn the styles from, as Style/artist-name_title.jpg (WikiArt's "
            "layout) or with a folder per style.",
        ),
    ] = None,
    layout: Annotated[
        Literal["auto", "wikiart", "folders"], typer.Option(help="Of the folder of --images.")
    ] = "auto",
    prompts: Annotated[
        bool,
        typer.Option("--prompts", help="Let the model draw the styles from their prompts alone."),
    ] = False,
    contents: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Pictures to redraw in every style, in place of the three that are built in.",
        ),
    ] = None,
    styles: StylesOption = "auto",
    genre: GenreOption = None,
    without_living: LivingOption = False,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A Stable Diffusion checkpoint: encoder, and the model that draws, at once.",
        ),
    ] = None,
    encoder: EncoderOption = None,
    style_transfer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The model that draws, if not the checkpoint."),
    ] = None,
    per_style: Annotated[
        int, typer.Option(min=1, max=1000, help="Pictures per style, from files or prompts.")
    ] = 6,
    batch: Annotated[
        int, typer.Option(min=1, max=256, help="Styles that are drawn and encoded at once.")
    ] = 4,
    statistic: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What makes a centroid: mean+std, mean, gram, or the paper's places.",
        ),
    ] = "mean+std",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A .safetensors file. Without it the bank goes where cloak and styles rank find "
            "it by themselves whenever this encoder is used.",
        ),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Build a style bank for an encoder.

    The pictures come from files (--images), from the model's own prompts (--prompts), or from a few
    pictures redrawn in every style. Without --styles the bank is of wikiart's painters, or, where
    only the embedded engine can draw, of the built-in styles. A build that was stopped goes on
    where it stopped: give the same command again.
    """
    from ..devices import choose_device
    from ..networks.ensemble import load_encoders
    from ..styles.bank_build import build_style_bank
    from ..styles.builtin_bank import own_bank_file

    with one_sentence():
        if images is not None and (prompts or contents is not None):
            raise ValueError("Expected --images alone, or --prompts, or --contents.")
        if prompts and contents is not None:
            raise ValueError("Expected --prompts or --contents, but got both.")
        check_model_names(*(encoder or ()), checkpoint, style_transfer)
        on_device = choose_device(device)
        drawn_by = style_transfer or checkpoint or "embedded"
        if styles == "auto":
            draws_any = images is not None or drawn_by != "embedded"
            styles = "wikiart" if draws_any else "builtin"
        candidates = candidates_named(styles, genre, without_living)
        phi = load_encoders(encoders_of(encoder, checkpoint), on_device)
        if images is not None:
            chosen, source = _from_files(images, candidates, layout, per_style)
        elif prompts:
            chosen, source = _from_prompts(candidates, drawn_by, on_device, per_style)
        else:
            chosen, source = _redrawn(candidates, drawn_by, on_device, contents)
        target = out or own_bank_file(phi)
        if out is None:
            target.parent.mkdir(parents=True, exist_ok=True)
        with progress_bar() as progress:
            task = progress.add_task("Styles", total=len(chosen), note="")
            try:
                bank = build_style_bank(
                    chosen,
                    source,
                    phi,
                    target,
                    statistic=statistic,
                    styles_per_batch=batch,
                    on_style=lambda done, of: progress.update(
                        task, completed=done, note=f"{done:,} of {of:,} styles"
                    ),
                )
            except KeyboardInterrupt:
                progress.stop()
                say("Stopped. The same command goes on from here.", "none")
                raise typer.Exit(130) from None
    results.print(bank_table(bank, target.stat().st_size))
    results.print(f"Saved: {target}", soft_wrap=True, markup=False)


def _from_files(
    folder: Path, candidates: tuple[Candidate, ...], layout: str, per_style: int
) -> tuple[list[Style], PictureSource]:
    from ..styles.bank_sources import from_folder, styles_in_folder

    found = styles_in_folder(folder, candidates, layout)
    few = sum(len(paths) < per_style for paths in found.values())
    if few:
        say(f"{few} of {len(found)} styles have fewer than {per_style} pictures.", "yellow")
    return list(found), from_folder(found, per_style)


def _from_prompts(
    candidates: tuple[Candidate, ...], model: str, device: torch.device, per_style: int
) -> tuple[list[Style], PictureSource]:
    from ..styles.bank_sources import from_prompts
    from ..styles.transfer import load_text_to_image

    if model == "embedded":
        raise ValueError("Expected a --checkpoint with --prompts: the embedded one has no prompts.")
    draw = load_text_to_image(model, device)
    return [candidate.style for candidate in candidates], from_prompts(draw, per_style)


def _redrawn(
    candidates: tuple[Candidate, ...], model: str, device: torch.device, contents: Path | None
) -> tuple[list[Style], PictureSource]:
    from ..files.bundled import content_pictures
    from ..files.finding import find_artworks
    from ..styles.bank_sources import by_style_transfer
    from ..styles.transfer import load_style_transfer
    from ..styles.works import read_pictures

    redraw = load_style_transfer(model, device)
    drawable = [c.style for c in candidates if redraw.can_render(c.style)]
    if not drawable:
        redraw.check(candidates[0].style)
    if contents is None:
        pictures = content_pictures()
    else:
        pictures = read_pictures([path for path, _ in find_artworks([contents])])
    return drawable, by_style_transfer(redraw, pictures)


@bank_app.command()
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A style bank.")],
) -> None:
    """Show what a style bank is made of."""
    from ..styles.bank_file import load_style_bank

    with one_sentence():
        bank = load_style_bank(file)
        size = file.stat().st_size
    results.print(bank_table(bank, size))
