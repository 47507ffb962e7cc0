"""Artwork in and out: what a picture file holds, and how a cloaked one is written.

Pixels are worked on as their *view*: upright sRGB of 8 bits.  A file of 16 bits, or in a wider
colour space that a matrix describes, keeps its own levels beside it, and the cloak is carried back
onto those (see :mod:`comfy_glaze.files.colour`).  A grey file keeps its one channel; a grey profile
is applied, a profile made of tables is carried along.  What may travel of the metadata, and what is
left behind because it could show the uncloaked original, is said in :mod:`comfy_glaze.files.exif`
and :mod:`comfy_glaze.files.xmp`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..devices import give_back_memory
from ..images import Levels, check_held, floats, from_levels, held_levels, to_levels
from .atomic import atomic_write
from .coding import NOT_TOLD, Coding
from .colour import carry, matrix_profile, view_of
from .credentials import load_credentials
from .exif import GPS, Fields, clean, read_fields, write_block
from .formats import DEEP, GREY, ArtworkError, is_same_file, named, read_file
from .location import tells_location, without_location
from .options import SaveOptions
from .reading import decode
from .writing import Carried, encode
from .xmp import clean_iptc, clean_xmp, with_training_statement


@dataclass(frozen=True, eq=False)
class Artwork:
    """A picture and all that must survive saving."""

    pixels: Tensor  # (1, 3, H, W) float32 in [0, 1], exactly k/255, or held as levels; upright
    alpha: Tensor | None = None  # (1, 1, H, W), on the file's own grid; None without transparency
    format: str = "png"  # the source's real one, a key of FORMATS or READ_ONLY
    source: Path | None = None
    sha256: str | None = None  # of the source's bytes, hexadecimal
    size: int | None = None  # bytes of the source
    icc_profile: bytes | None = None  # the RGB profile of the file's levels; None means sRGB
    dpi: tuple[float, float] | None = None  # horizontal and vertical, of the upright picture
    exif: bytes | None = None  # a fresh block of what may travel
    xmp: bytes | None = None
    iptc: bytes | None = None
    levels: Levels | None = None  # (H, W, 1 or 3) of the file, where they are not 255 · pixels
    is_grey: bool = False  # whether the file has one channel of colour
    texts: Mapping[str, str] = field(default_factory=dict)  # of a PNG, by keyword
    colour_chunks: bytes = b""  # of a PNG: what the profile says, in numbers
    coding: Coding = NOT_TOLD  # how the source is coded
    has_others: bool = False  # whether the source holds further pictures, which are left behind

    @property
    def keep_clear(self) -> Tensor | None:
        """(1, 1, H, W) float32, 1 where alpha is 0 and the pixels must stay as they are."""
        return None if self.alpha is None else (self.alpha == 0).float()

    @property
    def bits(self) -> int:
        """Per channel, of the file: 8 or 16."""
        return 8 if self.levels is None else 8 * self.levels.dtype.itemsize

    @property
    def tells_location(self) -> bool:
        """Whether what may travel says where the work was made."""
        fields = read_fields(self.exif or b"")
        return bool(fields.get(GPS)) or tells_location(self.xmp, self.iptc)


def load_artwork(path: Path, shown_as: Path | None = None, *, held: bool = False) -> Artwork:
    """Read a PNG, JPEG, WebP, TIFF, AVIF, HEIF, GIF or BMP file, told by its content, whatever its
    suffix.

    Grey and palette pictures become RGB, their transparency alpha.  Of a file that carries further
    pictures (previews, gain maps) only the first is read.  Raises ``ArtworkError`` for any other
    file, one that is unreadable, broken, cut short, animated or CMYK, and for more than
    ``MAX_MEGAPIXELS`` or a side shorter than ``MIN_SIDE``.  HEIF and 16 bits per channel need the
    packages of the extra ``io``.  Errors name ``shown_as`` where ``path`` is a temporary name for
    that file.

    Args:
        held: whether the pixels shall be held as levels, in a quarter of the memory (see
            :func:`comfy_glaze.images.floats`).
    """
    data, kind = read_file(path, shown_as)
    sha256, size = hashlib.sha256(data).hexdigest(), len(data)
    decoded = decode(data, kind, named(shown_as or path))
    del data  # a large picture must not lie in memory several times
    give_back_memory()
    channels = 3 if decoded.levels.shape[-1] > 2 else 1
    levels, alpha = decoded.levels[..., :channels], None
    height, width = levels.shape[:2]
    if decoded.levels.shape[-1] > channels:
        alpha = from_levels(decoded.levels[..., channels:])
    profile = matrix_profile(decoded.icc_profile) if decoded.icc_profile else None
    is_view = levels.dtype == np.uint8 and profile is None
    pixels = (held_levels if held else from_levels)(levels if is_view else view_of(levels, profile))
    fields = clean(decoded.fields, width, height)
    across, down = decoded.dpi or (0, 0)
    return Artwork(
        pixels=pixels if channels == 3 else pixels.repeat(1, 3, 1, 1),
        alpha=alpha,
        format=kind,
        source=path,
        sha256=sha256,
        size=size,
        icc_profile=decoded.icc_profile,
        dpi=(across, down) if min(across, down) >= 1 and max(across, down) < 2**16 else None,
        exif=write_block(fields) if fields else None,
        xmp=clean_xmp(decoded.xmp, width, height),
        iptc=clean_iptc(decoded.iptc),
        levels=None if is_view else np.ascontiguousarray(levels),
        is_grey=channels == 1,
        texts=decoded.texts,
        colour_chunks=decoded.colour_chunks,
        coding=decoded.coding,
        has_others=decoded.has_others,
    )


def check_saving(artwork: Artwork, format: str, path: Path) -> None:
    """Raise ``ArtworkError`` if ``format``, a key of ``FORMATS``, cannot hold the transparency."""
    if format == "jpeg" and artwork.alpha is not None and bool((artwork.alpha < 1).any()):
        raise ArtworkError(f"{named(path)}: expected png or webp for transparency, but got jpeg.")


def _file_levels(pixels: Tensor, artwork: Artwork, format: str) -> Levels:
    """The levels (H, W, 1 or 3) to write for ``pixels``: of 8 bits, or 16 where file and format
    hold them; the artwork's own wherever ``pixels`` are the artwork's."""
    channels = 1 if _stays_grey(pixels, artwork, format) else 3
    view = to_levels(pixels[:, :channels])
    if artwork.levels is None:
        return view
    own, profile = artwork.levels, matrix_profile(artwork.icc_profile or b"")
    if own.dtype == np.uint16 and format not in DEEP:
        own = ((own.astype(np.uint32) + 128) // 257).astype(np.uint8)
    own = np.repeat(own, channels // own.shape[-1], axis=-1)
    return carry(own, to_levels(artwork.pixels[:, :channels]), view, profile)


def _stays_grey(pixels: Tensor, artwork: Artwork, format: str) -> bool:
    """Whether ``pixels`` are written as one channel."""
    if not artwork.is_grey or format not in GREY:
        return False
    if format == "avif" and (artwork.bits > 8 or artwork.alpha is not None):
        return False
    return bool((pixels == pixels[:, :1]).all())


def saved_view(pixels: Tensor, artwork: Artwork, format: str) -> Tensor:
    """What :func:`load_artwork` finds after ``pixels`` were saved losslessly in ``format``.

    Differs from ``pixels`` only where a wide colour space has no such level.
    """
    profile = matrix_profile(artwork.icc_profile or b"")
    if profile is None:
        return pixels
    view = held_levels(view_of(_file_levels(pixels, artwork, format), profile))
    return (view if pixels.dtype == torch.uint8 else floats(view)).to(pixels.device)


def save_artwork(
    pixels: Tensor,
    artwork: Artwork,
    path: Path,
    options: SaveOptions | None = None,
    shown_as: Path | None = None,
) -> None:
    """Write ``pixels`` with what ``artwork`` carries, rounded once, whole or not at all.

    PNG, TIFF and, at quality 100, WebP hold the rounded pixels exactly, those under alpha 0
    included.  JPEG and AVIF are written without chroma subsampling, unless the artwork comes from a
    file of the same format that had one.

    Args:
        pixels: (1, 3, H, W) float in [0, 1], or held as levels, of the artwork's size.
        options: how; without them in the artwork's own format.  What a cloak must keep plays no
            part here.
        shown_as: the file that errors name, where ``path`` is a temporary name for it.

    Raises:
        ValueError: ``pixels`` is no picture in [0, 1].
        ArtworkError: another size than the artwork's, transparency or a size that the format cannot
            hold, credentials that do not sign, a ``path`` that is the artwork's own source, or one
            that cannot be written.
    """
    name = named(shown_as or path)
    options = (options or SaveOptions()).for_file(artwork.format, path, artwork.coding.quality)
    format = options.format
    check_held(pixels, "pixels")
    size, came = tuple(artwork.pixels.shape), tuple(pixels.shape)
    if came != size:
        raise ArtworkError(f"{name}: expected pixels of shape {size}, but got {came}.")
    if is_same_file(path, artwork.source):
        raise ArtworkError(f"{name}: expected another file than the source, but got it.")
    check_saving(artwork, format, shown_as or path)
    levels = _file_levels(pixels, artwork, format)
    if format != "jpeg" and artwork.alpha is not None:
        levels = np.concatenate([levels, to_levels(artwork.alpha, 8 * levels.itemsize)], axis=-1)
    try:
        data = encode(levels, _carried(artwork, options), format, options.real_quality)
    except (ValueError, OSError) as error:
        raise ArtworkError(f"{name} cannot be written as {format}: {error}.") from error
    if options.credentials is not None:  # last, since a signature covers every byte
        signer = load_credentials(options.credentials)
        data = signer.sign(data, format, options.no_ai_training)
    with atomic_write(path, shown_as) as temporary:
        temporary.write_bytes(data)


def _carried(artwork: Artwork, options: SaveOptions) -> Carried:
    """What is written with the levels of an artwork."""
    fields: Fields = read_fields(artwork.exif or b"")
    xmp, iptc, coding = artwork.xmp, artwork.iptc, artwork.coding
    if options.strip_location:
        fields, xmp, iptc = without_location(fields, xmp, iptc)
    if options.no_ai_training:
        xmp = with_training_statement(xmp)
    if artwork.format != options.format or coding.sampling == "4:0:0":
        coding = replace(coding, sampling=None, progressive=False)
    return Carried(
        artwork.icc_profile,
        artwork.dpi,
        fields,
        xmp,
        iptc,
        artwork.texts,
        artwork.colour_chunks,
        coding,
    )
