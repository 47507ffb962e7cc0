"""The small world: what it is made of, for the scripts beside this file.

Contents (portraits, landscapes, faces …) are drawn in known styles; a small latent diffusion model
learns all but a few of the styles, and those few belong to artists whom it has never seen.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

from comfy_glaze.evaluation.generation import Generation
from comfy_glaze.evaluation.mimicry import FineTuning
from comfy_glaze.styles.bank import Style, builtin_styles

ARTISTS = {
    "vell": "Blue woodblock print",
    "oren": "Pastel stained glass",
    "mira": "Ochre engraving",
}
"""Invented artists and their styles, which the generator's training never holds."""

UNSTYLED = "as it was"

CONTENTS = {  # what a source of collect_artwork.py shows, in a word; the first match counts
    "wesnoth-portraits": "portrait",
    "wesnoth-utbs-portraits": "portrait",
    "freecol": "portrait",
    "wesnoth": "story",
    "endless-sky": "landscape",
    "mate-nature": "landscape",
    "ukui": "landscape",
    "gnome": "wallpaper",
    "plasma": "wallpaper",
    "dicebear": "face",
    "openclipart": "object",
    "stellarium": "constellation",
}
OTHER_CONTENT = "scene"


@dataclass(frozen=True)
class World:
    """How large everything is.

    Attributes:
        side: pixels of every picture.
        drawn: pixels at which the styles are drawn, before the picture is made smaller.
        contents: pictures at most, of collect_artwork.py's.
        styles_each: styles that a content is drawn in for the generator.
        works: of each artist.
        unet: a key of :data:`comfy_glaze.evaluation.small_generator.SIZES`.
        training: of the generator, from nothing.
        tuning, generation: of the mimics.
    """

    side: int
    drawn: int
    contents: int
    styles_each: int
    works: int
    unet: str
    training: FineTuning
    tuning: FineTuning
    generation: Generation


TRAINING = FineTuning(caption_dropout=0.1, average=0.999, warm_up=200)
"""What all generators are trained with."""


WORLDS: dict[str, World] = {
    # proves that the scripts run; says nothing
    "proof": World(
        64,
        64,
        120,
        1,
        24,
        "tiny",
        replace(TRAINING, steps=40, batch=8, at_once=8, learning_rate=1e-3, resolution=64),
        FineTuning(steps=8, batch=4, learning_rate=1e-3, resolution=64),
        Generation(steps=6, images_per_caption=2, resolution=64),
    ),
    # about two hours of two cores, the grid of run_grid.py included
    "cores": World(
        64,
        128,
        900,
        3,
        30,
        "cores",
        replace(TRAINING, steps=12000, batch=16, at_once=16, learning_rate=3e-4, resolution=64),
        FineTuning(steps=300, batch=8, learning_rate=2e-4, resolution=64),
        Generation(steps=25, guidance=3.0, images_per_caption=5, resolution=64, at_once=30),
    ),
    # about twenty minutes on a data-centre GPU, the grid not counted
    "gpu": World(
        128,
        128,
        1600,
        3,
        30,
        "gpu",
        replace(TRAINING, steps=10000, batch=128, at_once=128, learning_rate=2e-4, resolution=128),
        FineTuning(steps=300, batch=16, at_once=16, learning_rate=5e-5, resolution=128),
        Generation(steps=50, guidance=3.0, images_per_caption=5, resolution=128, at_once=30),
    ),
}


def arguments(description: str) -> argparse.ArgumentParser:
    """What every script takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--world", choices=WORLDS, default="cores")
    parser.add_argument("--folder", type=Path, help="default: training/world-NAME")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--minutes", type=float, help="stop after so many; run again to go on")
    return parser


def folder_of(options: argparse.Namespace) -> Path:
    """Where a world lies."""
    folder: Path = options.folder or Path("training") / f"world-{options.world}"
    return folder


def content_of(source: str) -> str:
    """The word for what a source shows."""
    return next((word for part, word in CONTENTS.items() if source.startswith(part)), OTHER_CONTENT)


def style_words(name: str) -> str:
    """A style's name as captions say it: words of letters alone."""
    return " ".join("".join(c if c.isalnum() else " " for c in name.casefold()).split())


def caption(content: str, style: str) -> str:
    """ "a portrait by sepia chalk": a style is to the world what an artist's name is."""
    return f"a {content} by {style_words(style)}"


def world_styles() -> list[Style]:
    """The styles that the generator learns."""
    return [style for style in builtin_styles() if style.name not in ARTISTS.values()]


def read_grid(folder: Path) -> list[dict[str, str]]:
    """The pictures: ``file``, ``content``, ``style``, ``part`` and, for works, ``artist``."""
    rows: list[dict[str, str]] = json.loads((folder / "grid.json").read_text(encoding="utf-8"))
    return rows
