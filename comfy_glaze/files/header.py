"""What a picture file's header tells of whether it can be worked on; nothing is decoded."""

from __future__ import annotations

from PIL import ImageFile

from . import formats

TO_RGB = "convert to RGB in your editor, where you can judge the colours"


class Unexpected(Exception):
    """What was expected, and what came: the middle of a sentence."""


def check_header(image: ImageFile.ImageFile) -> None:
    """Raise ``Unexpected`` for a size, colours or an animation that are not worked on."""
    check_size(image.width, image.height)
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA") and not image.mode.startswith("I"):
        raise Unexpected(f"grey, palette or RGB colours, but it is {image.mode}: {TO_RGB}")
    if image.format in ("PNG", "WEBP", "AVIF", "GIF") and getattr(image, "n_frames", 1) > 1:
        raise Unexpected("one still picture, but it is animated: save its frames as single PNGs")


def check_size(width: int, height: int) -> None:
    """Raise ``Unexpected`` for a picture that is too small or too large."""
    if min(width, height) < formats.MIN_SIDE:
        raise Unexpected(
            f"sides of at least {formats.MIN_SIDE} pixels, but it is {width} × {height}"
        )
    if width * height > formats.MAX_MEGAPIXELS * 10**6:
        raise Unexpected(f"at most {formats.MAX_MEGAPIXELS} megapixels, but it is larger")
