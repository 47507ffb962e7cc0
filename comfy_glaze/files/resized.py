"""An artwork whose pixels now have another size, with all that is still true of it."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ..images import resize, same_proportions, to_grid
from .artwork import Artwork
from .exif import clean, read_fields, write_block
from .xmp import clean_xmp


def at_size_of(artwork: Artwork, pixels: Tensor) -> Artwork:
    """The artwork for other pixels: its name, author, resolution and format.

    Transparency is scaled along where the proportions are the same, and otherwise left out, since
    nothing tells which part of it belongs to the pixels.  They are sRGB of 8 bits, so the file's
    own levels and the profile that those are in no longer apply.

    Args:
        pixels: (1, 3, H, W) in [0, 1], made from the artwork's.
    """
    height, width = pixels.shape[-2:]
    alpha, fields = artwork.alpha, clean(read_fields(artwork.exif or b""), width, height)
    if alpha is not None:
        before = (alpha.shape[-2], alpha.shape[-1])
        fits = same_proportions(before, (height, width))
        alpha = to_grid(resize(alpha, height, width).clamp(0, 1)) if fits else None
    return replace(
        artwork,
        pixels=pixels,
        alpha=alpha,
        icc_profile=artwork.icc_profile if artwork.levels is None else None,
        colour_chunks=artwork.colour_chunks if artwork.levels is None else b"",
        exif=write_block(fields) if fields else None,
        xmp=clean_xmp(artwork.xmp, width, height),
        levels=None,
    )
