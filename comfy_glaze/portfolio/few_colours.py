"""Pixel art and pictures in few colours: what they are, and their cloak within a palette."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..cloaking.ties import Ties
from ..files.artwork import Artwork
from ..files.formats import ArtworkError
from ..files.palette import in_few_colours, number_of_colours
from ..images import as_held, from_levels, to_levels

_FEW_GREYS = 16  # levels of a grey picture, at most, that make it a drawing and no photograph


class LeftAlone(ArtworkError):
    """A picture that is not cloaked because its artist asked for that, in one sentence."""


def colours_of(pixels: Tensor) -> int | None:
    """How many colours an image (1, 3, H, W) has; None for more than a palette holds."""
    return number_of_colours(to_levels(pixels))


def count_of_colours(pixels: Tensor) -> int:
    """How many colours an image (1, 3, H, W) has."""
    levels = to_levels(pixels).astype(np.uint32)
    return len(np.unique(levels[..., 0] << 16 | levels[..., 1] << 8 | levels[..., 2]))


def what_is_few(artwork: Artwork) -> str | None:
    """What makes an artwork one in few colours, in some words; None for all others."""
    ties = Ties.of(artwork.pixels)
    if ties.has_blocks:
        return f"pixel art in squares of {ties.block[1]} × {ties.block[0]} pixels"
    colours = colours_of(artwork.pixels)
    if colours is None or (artwork.coding.indexed is False and colours > _FEW_GREYS):
        return None
    kind = "grey" if ties.grey else "colour"
    return f"a picture in {colours} {kind}s" if colours > 1 else f"a picture in one {kind}"


def within_a_palette(pixels: Tensor, artwork: Artwork) -> Tensor | None:
    """A cloaked image (1, 3, H, W) in as many colours as a palette holds.

    Transparent colours count by themselves, as they do in the file.

    Returns:
        None where the artwork has no palette, is grey, or has too many colours for one with a
        cloak in it (see :func:`comfy_glaze.files.palette.in_few_colours`).
    """
    if not artwork.coding.indexed or artwork.levels is not None:
        return None
    original, cloaked = to_levels(artwork.pixels), to_levels(pixels)
    if artwork.alpha is not None:
        alpha = to_levels(artwork.alpha)
        original, cloaked = (np.concatenate([one, alpha], axis=-1) for one in (original, cloaked))
    few = in_few_colours(cloaked, original)
    return None if few is None else as_held(from_levels(few[..., :3]), pixels).to(pixels.device)
