"""What a file format, a platform or a repost does to a picture, with Pillow's real codecs."""

from __future__ import annotations

import io
from functools import partial

from PIL import Image, features
from torch import Tensor

from ..images import size_with_short_side
from .tools import Apply, Countermeasure, CountermeasureError, Tools, from_pillow, times, to_pillow

SUBSAMPLING = {"444": 0, "420": 2}  # Pillow's numbers

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

PLATFORMS = {
    "facebook": (1920, 80),
    "instagram": (1080, 75),
    "x": (4096, 85),
}
"""Longest side in pixels and a usual JPEG quality, with halved chroma.

The sizes are those in phototaco.com's guide.  Platforms publish no qualities, so these are
estimates.  The colour profile is removed as well, which changes no sRGB picture.
"""


def encoded(
    picture: Image.Image, format: str, quality: float, subsampling: int = SUBSAMPLING["420"]
) -> Image.Image:
    """A picture after it is written to a file in memory and read back, as RGB.

    ``subsampling`` counts for JPEG alone.
    """
    file = io.BytesIO()
    options = {"subsampling": subsampling} if format == "JPEG" else {}
    picture.save(file, format, quality=round(quality), **options)
    file.seek(0)
    return Image.open(file).convert("RGB")


def _jpeg(subsampling: int, image: Tensor, amount: float, seed: int, tools: Tools) -> Tensor:
    return from_pillow(encoded(to_pillow(image), "JPEG", amount, subsampling))


def _other(format: str, image: Tensor, amount: float, seed: int, tools: Tools) -> Tensor:
    if not features.check(format.lower()):
        raise CountermeasureError(f"The Pillow that is installed here writes no {format} files.")
    return from_pillow(encoded(to_pillow(image), format, amount))


def _resized_and_back(name: str, image: Tensor, amount: float, seed: int, tools: Tools) -> Tensor:
    picture, filter = to_pillow(image), FILTERS[name]
    return from_pillow(
        picture.resize(times(picture.size, amount), filter).resize(picture.size, filter)
    )


def _with_long_side(picture: Image.Image, longest: int) -> Image.Image:
    """The picture scaled down with Lanczos to a longest side in pixels; never enlarged."""
    short = longest * min(picture.size) // max(picture.size)
    height, width = size_with_short_side(picture.height, picture.width, max(1, short))
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _platform(name: str, image: Tensor, amount: float, seed: int, tools: Tools) -> Tensor:
    picture, (longest, _) = to_pillow(image), PLATFORMS[name]
    shown = encoded(_with_long_side(picture, longest), "JPEG", amount)
    return from_pillow(shown.resize(picture.size, Image.Resampling.LANCZOS))


def _repost(image: Tensor, amount: float, seed: int, tools: Tools) -> Tensor:
    """Published, saved from the screen at three quarters of its size, and published again."""
    picture = to_pillow(image)
    first = encoded(picture, "JPEG", amount)
    size = times(picture.size, 0.75)
    second = encoded(first.resize(size, Image.Resampling.BICUBIC), "JPEG", amount)
    return from_pillow(second.resize(picture.size, Image.Resampling.BICUBIC))


def _quality(words: str, apply: Apply, *amounts: float, needs: str = "") -> Countermeasure:
    return Countermeasure(words, apply, amounts, "quality", 1, 100, needs)


def _resizing(name: str, spelled: str) -> Countermeasure:
    amounts = (0.5, 0.25, 0.75, 1.5)
    apply = partial(_resized_and_back, name)
    return Countermeasure(f"resize and back ({spelled})", apply, amounts, "scale", 0.01, 8)


def _upload(name: str, spelled: str) -> Countermeasure:
    return _quality(f"upload to {spelled}", partial(_platform, name), PLATFORMS[name][1])


_JPEG_QUALITIES = (75, 95, 85, 50, 25, 20, 15, 10)

CODECS: dict[str, Countermeasure] = {
    "jpeg-420": _quality("save as JPEG", partial(_jpeg, SUBSAMPLING["420"]), *_JPEG_QUALITIES),
    "jpeg-444": _quality(
        "save as JPEG with full colour", partial(_jpeg, SUBSAMPLING["444"]), *_JPEG_QUALITIES
    ),
    "webp": _quality("save as WebP", partial(_other, "WEBP"), 80),
    "avif": _quality("save as AVIF", partial(_other, "AVIF"), 60, needs="avif"),
    "platform-facebook": _upload("facebook", "Facebook"),
    "platform-instagram": _upload("instagram", "Instagram"),
    "platform-x": _upload("x", "X"),
    "repost": _quality("post, screenshot, post again", _repost, 75),
    "resize-bicubic": _resizing("bicubic", "bicubic"),
    "resize-bilinear": _resizing("bilinear", "bilinear"),
    "resize-lanczos": _resizing("lanczos", "Lanczos"),
}
