"""Few colours: a cloaked picture that keeps to a palette, and the file that holds one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..images import Levels

MOST = 256
"""Colours that an indexed file holds."""

FEW_COLOURS = MOST // 3
"""Colours of an original, at most, that leave each of them room for two variants in a palette."""


_SAMPLED = 16  # every so many rows and columns are looked at first


def number_of_colours(levels: Levels, most: int = MOST) -> int | None:
    """How many colours a picture (H, W, 3 or 4) of 8 bits has; None for more than ``most``.

    Most pictures show that in a few of their pixels, and a large one need not be copied for it.
    """
    if Image.fromarray(levels[::_SAMPLED, ::_SAMPLED].copy()).getcolors(most) is None:
        return None
    found = Image.fromarray(levels).getcolors(most)
    return None if found is None else len(found)


def in_few_colours(cloaked: Levels, original: Levels) -> Levels | None:
    """A cloaked picture with at most :data:`MOST` colours, (H, W, 3 or 4) of 8 bits.

    Each of the original's colours stays, and gets variants for the pixels that change, more of them
    the more pixels there are.  A variant is the mean of changed pixels of one colour, so no pixel
    moves farther from its original than the farthest of them.

    Returns:
        None where the original has more than :data:`FEW_COLOURS`.
    """
    if number_of_colours(original, FEW_COLOURS) is None:
        return None
    before, after = (levels.reshape(-1, levels.shape[-1]) for levels in (original, cloaked))
    colours, group = np.unique(_packed(before), return_inverse=True)
    changed = np.nonzero((before != after).any(axis=-1))[0]
    changed = changed[np.argsort(group[changed], kind="stable")]
    counts = np.bincount(group[changed], minlength=len(colours))
    result = before.copy()
    ends = np.cumsum(counts)
    for number, variants in enumerate(_variants(counts, MOST - len(colours))):
        of_colour = changed[ends[number] - counts[number] : ends[number]]
        if len(of_colour):
            result[of_colour, :3] = _clustered(after[of_colour, :3], variants)
    return result.reshape(original.shape)


def _variants(counts: npt.NDArray[np.int64], room: int) -> list[int]:
    """How many variants each colour gets: one where it changes, and a share of the rest."""
    needed = counts > 0
    rest = room - int(needed.sum())
    return [int(n) for n in needed + rest * counts // max(1, int(counts.sum()))]


def _clustered(colours: Levels, most: int) -> Levels:
    """Colours (N, 3) reduced to ``most``, each to the nearest of their means."""
    row = Image.fromarray(colours[None])
    if row.getcolors(most) is not None:
        return colours
    reduced = row.quantize(most, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE)
    palette = np.asarray(reduced.getpalette("RGB"), np.uint8).reshape(-1, 3)
    chosen: Levels = palette[np.asarray(reduced)[0]]
    return chosen


def _packed(levels: Levels) -> npt.NDArray[np.uint32]:
    """Colours (..., 3 or 4) as one number each, opaque ones last."""
    packed: npt.NDArray[np.uint32] = np.zeros(levels.shape[:-1], np.uint32)
    for channel in (3, 0, 1, 2)[levels.shape[-1] == 3 :]:
        packed = packed << np.uint32(8) | levels[..., channel].astype(np.uint32)
    return packed


def as_indexed(levels: Levels) -> tuple[Image.Image, bytes] | None:
    """Levels (H, W, 3 or 4) of 8 bits as an indexed picture, and the alpha of its palette.

    Returns:
        None where there are more than :data:`MOST` colours.
    """
    if levels.dtype != np.uint8 or number_of_colours(levels) is None:
        return None
    packed, index = np.unique(_packed(levels), return_inverse=True)
    entries = packed[:, None] >> np.array([16, 8, 0, 24], np.uint32) & 255
    image = Image.fromarray(index.reshape(levels.shape[:2]).astype(np.uint8))
    image.putpalette(entries[:, :3].astype(np.uint8).tobytes())
    alpha = entries[:, 3].astype(np.uint8).tobytes().rstrip(b"\xff")
    return image, alpha if levels.shape[-1] == 4 else b""
