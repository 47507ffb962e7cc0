"""One picture: redrawn in the target style, cloaked, and all that saving it needs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..cloaking.cloak import Cloak, optimize_cloak
from ..cloaking.methods import OnStep
from ..files.artwork import Artwork, load_artwork
from ..files.formats import ArtworkError, named
from ..images import resize, together, wrapped
from .cloaked import CloakedPicture
from .engine import Engine

SURROUNDINGS = 64
"""Pixels beyond each edge of a picture that repeats that are redrawn with it."""


def cloak_artworks(
    artworks: Sequence[Artwork],
    engine: Engine,
    mask: Path | None = None,
    on_step: OnStep | None = None,
) -> list[CloakedPicture]:
    """Cloak pictures of one size together.

    Args:
        mask: a picture of the artworks' proportions, light where pixels must stay (see
            :func:`load_mask`).
        on_step: as in :func:`comfy_glaze.cloaking.cloak.optimize_cloak`.

    Raises:
        ValueError: a picture cannot be redrawn or cloaked, or the mask does not fit it.
    """
    started = time.perf_counter()
    poison = engine.poison
    styled = together([_redrawn(artwork.pixels, engine) for artwork in artworks])
    cloaks = optimize_cloak(
        together([artwork.pixels for artwork in artworks]),
        styled,
        engine.encoder,
        engine.budget,
        engine.settings,
        on_step,
        keep_clear=_keep_clear(artworks, mask),
        metric=engine.metric,
    )
    seconds = (time.perf_counter() - started) / len(artworks)
    return [
        CloakedPicture(
            artwork,
            artwork.pixels,
            styled[number : number + 1],
            cloak,
            None if poison else engine.target,
            poison.as_json(artwork) if poison else None,
            seconds,
        )
        for number, (artwork, cloak) in enumerate(zip(artworks, _each(cloaks), strict=True))
    ]


def _redrawn(pixels: Tensor, engine: Engine) -> Tensor:
    """Ω of a picture; one that repeats is redrawn with what surrounds it, so that it still does."""
    style, settings = engine.target.style, engine.settings
    if not settings.tile:
        return engine.style_transfer(pixels, style, settings.seed)
    margin = min(SURROUNDINGS, *pixels.shape[-2:])
    around = engine.style_transfer(wrapped(pixels, margin), style, settings.seed)
    return around[..., margin:-margin, margin:-margin]


def _each(cloaks: Cloak) -> list[Cloak]:
    """The cloaks of a batch, one by one."""
    count = len(cloaks.images)
    return [
        replace(
            cloaks,
            images=cloaks.images[number : number + 1],
            measures=cloaks.measures[number : number + 1],
            seconds=cloaks.seconds / count,
        )
        for number in range(count)
    ]


def load_mask(path: Path, artwork: Artwork) -> Tensor:
    """A picture whose light half says which pixels to leave alone, at the artwork's size.

    Its own transparent parts leave nothing alone.

    Returns:
        (1, 1, H, W) in [0, 1].

    Raises:
        ArtworkError: the mask cannot be read, or has other proportions than the artwork.
    """
    picture = load_artwork(path)
    mask = picture.pixels.mean(dim=1, keepdim=True)
    if picture.alpha is not None:
        mask = mask * picture.alpha
    (height, width), (own_height, own_width) = artwork.pixels.shape[-2:], mask.shape[-2:]
    if abs(own_width * height - width * own_height) > max(height, width, own_height, own_width):
        raise ArtworkError(
            f"{named(path)} must have the proportions of the artwork, {width} × {height}, "
            f"but it is {own_width} × {own_height}."
        )
    return resize(mask, height, width).clamp(0, 1)


def _keep_clear(artworks: Sequence[Artwork], mask: Path | None) -> Tensor | None:
    """What must not change, (B, 1, H, W): fully transparent pixels, and those of a mask."""
    if mask is None and all(artwork.alpha is None for artwork in artworks):
        return None
    clear = []
    for artwork in artworks:
        own = artwork.keep_clear
        if own is None:
            own = torch.zeros(1, 1, *artwork.pixels.shape[-2:])
        clear.append(own if mask is None else torch.maximum(own, load_mask(mask, artwork)))
    return torch.cat(clear)
