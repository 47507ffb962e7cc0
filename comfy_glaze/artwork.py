"""Artwork in and out: what a picture file holds, and how a cloaked one is written.

Pixels are worked on as the file holds them: an ICC profile is carried along, not applied, except
for a grey one, which cannot describe RGB.  Of the metadata only the profile, the resolution and the
EXIF fields Artist and Copyright travel; the rest may hold a thumbnail of the uncloaked original.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms, ImageFile
from torch import Tensor

from .images import LEVELS, check_images

# Formats that are read and written, with their suffixes, the usual one first
FORMATS = {"png": (".png",), "jpeg": (".jpg", ".jpeg"), "webp": (".webp",)}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
MAX_MEGAPIXELS = 100
MIN_SIDE = 32  # px: below it, an encoder's features are too few to lead anywhere

_SIGNATURES = {  # how a file begins, whatever its suffix says
    "png": rb"\x89PNG\r\n\x1a\n",
    "jpeg": rb"\xff\xd8\xff",
    "webp": rb"RIFF.{4}WEBP",
    "a TIFF file": rb"II[*+]\0|MM\0[*+]",
    "a GIF file": rb"GIF8[79]a",
    "an AVIF file": rb".{4}ftypavi[fs]",
    "a HEIF file": rb".{4}ftyp(hei|hev|mif|msf)",
    "a Photoshop file": rb"8BPS",
    "empty": rb"\Z",
}

# EXIF orientation → the axes to flip, after rows and columns are swapped for 5 to 8
_FLIPS = {2: [3], 3: [2, 3], 4: [2], 6: [3], 7: [2, 3], 8: [2]}

_PILLOW_SETTINGS = threading.Lock()


class ArtworkError(ValueError):
    """One sentence: what was expected of a file, and what came."""


@dataclass(frozen=True, eq=False)
class Artwork:
    """A picture and all that must survive saving."""

    pixels: Tensor  # (1, 3, H, W) float32 in [0, 1], exactly k/255, upright
    alpha: Tensor | None = None  # (1, 1, H, W), likewise; None without transparency
    format: str = "png"  # the source's real one, a key of FORMATS
    source: Path | None = None
    sha256: str | None = None  # of the source's bytes, hexadecimal
    icc_profile: bytes | None = None  # the RGB profile of the pixels; None means sRGB
    dpi: tuple[float, float] | None = None  # horizontal and vertical, of the upright picture
    exif: bytes | None = None  # a fresh block with Artist and Copyright alone

    @property
    def keep_clear(self) -> Tensor | None:
        """(1, 1, H, W) float32, 1 where alpha is 0 and the pixels must stay as they are."""
        return None if self.alpha is None else (self.alpha == 0).float()


def is_lossless(format: str, quality: int) -> bool:
    """Whether such a file holds exactly the pixels it is given: PNG, and WebP at quality 100.

    Raises ``ArtworkError`` for an unknown format, or a quality outside 1 to 100.
    """
    if format not in FORMATS:
        raise ArtworkError(f"The format must be one of {', '.join(FORMATS)}, but got {format!r}.")
    if not 1 <= quality <= 100:
        raise ArtworkError(f"The quality must lie between 1 and 100, but got {quality}.")
    return format == "png" or (format == "webp" and quality == 100)


def find_artworks(sources: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Each picture file under ``sources`` with its path relative to what was named.

    Files are taken as named.  Folders are searched to the bottom for known suffixes, sorted by
    path; hidden files and folders, and symbolic links inside a folder, are passed over.  Raises
    ``ArtworkError`` if a source is missing, cannot be read, or is a folder without pictures.
    """
    found: list[tuple[Path, Path]] = []
    for source in sources:
        if not os.path.exists(source):
            raise ArtworkError(f"{_named(source)}: expected a file or folder, but there is none.")
        inside = sorted(_pictures_in(source)) if os.path.isdir(source) else [source]
        if not inside:
            raise ArtworkError(f"{_named(source)}: expected pictures in it, but there are none.")
        top = source if os.path.isdir(source) else source.parent
        found += [(path, path.relative_to(top)) for path in inside]
    return found


def _pictures_in(top: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise ArtworkError(f"{_named(error.filename)} cannot be read: {error.strerror}.") from error

    for folder, folders, files in os.walk(top, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(folder, name) for name in files if not name.startswith(".")):
            if path.suffix.lower() in SUFFIXES and not path.is_symlink():
                yield path


def load_artwork(path: Path) -> Artwork:
    """Read a PNG, JPEG or WebP file, told by its content, whatever its suffix says.

    Grey and palette pictures become RGB, their transparency alpha.  Of a JPEG that carries further
    pictures (previews, gain maps) only the first is read.  Raises ``ArtworkError`` for any other
    file, one that is unreadable, broken, cut short, animated, CMYK or 16-bit, and for more than
    ``MAX_MEGAPIXELS`` or a side shorter than ``MIN_SIDE``.
    """
    data, kind = _read(path)
    image = _decode(data, kind, _named(path))
    orientation, exif = _read_exif(image)
    rgb, icc_profile = _to_rgb(image)
    levels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None]
    across, down = (float(value) for value in image.info.get("dpi", (0, 0)))
    if orientation in (5, 6, 7, 8):
        levels, across, down = levels.transpose(2, 3), down, across
    channels = levels.flip(_FLIPS.get(orientation, [])).contiguous().float().div_(LEVELS)
    return Artwork(
        pixels=channels[:, :3],
        alpha=channels[:, 3:] if rgb.mode == "RGBA" else None,
        format=kind,
        source=path,
        sha256=hashlib.sha256(data).hexdigest(),
        icc_profile=icc_profile,
        dpi=(across, down) if min(across, down) >= 1 and max(across, down) < 2**16 else None,
        exif=exif,
    )


def _read(path: Path) -> tuple[bytes, str]:
    """A picture file's bytes and format, a key of ``FORMATS``; other files are not read through."""
    name = _named(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            raise ArtworkError(f"{name}: expected a picture file, but it is a folder or a device.")
        with path.open("rb") as file:
            head = file.read(32)
            kinds = (kind for kind, sign in _SIGNATURES.items() if re.match(sign, head, re.DOTALL))
            kind = next(kinds, "none of these")
            if kind not in FORMATS:
                raise ArtworkError(f"{name}: expected a PNG, JPEG or WebP file, but it is {kind}.")
            return head + file.read(), kind
    except OSError as error:
        raise ArtworkError(f"{name} cannot be read: {error.strerror}.") from error


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Pillow with its process-wide settings as needed here, whatever the host set: files that were
    cut short fail, warnings are quiet, and ``MAX_MEGAPIXELS`` is the limit of what is decoded."""
    with _PILLOW_SETTINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        Image.MAX_IMAGE_PIXELS = MAX_MEGAPIXELS * 500_000  # it raises at twice this number
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before


def _decode(data: bytes, kind: str, name: str) -> Image.Image:
    """The decoded picture in one of Pillow's 8-bit grey or RGB modes."""
    try:
        with _strict_pillow():
            image = Image.open(BytesIO(data), formats=[kind.upper()])
            if refusal := _refusal(image, data):
                raise ArtworkError(f"{name}: expected {refusal}.")
            image.load()
        if image.format == "PNG" and image.mode == "L" and "transparency" in image.info:
            # Pillow stretches grey of 2 and 4 bits to 8, but not the level that is transparent
            image.info["transparency"] *= LEVELS // (2 ** data[24] - 1)
        if image.mode == "P":  # here, since a broken palette fails only now
            return image.convert("RGBA" if image.has_transparency_data else "RGB")
        return image
    except (ArtworkError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        limit = f"at most {MAX_MEGAPIXELS} megapixels"
        raise ArtworkError(f"{name}: expected {limit}, but it is larger.") from error
    except Exception as error:  # decoders raise whatever they trip over in a broken file
        whole = f"a whole {kind.upper()} file"
        raise ArtworkError(f"{name}: expected {whole}, but it is broken or cut short.") from error


def _refusal(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """What is expected instead of this picture, told by its header, and what came."""
    if min(image.size) < MIN_SIDE:
        return f"sides of at least {MIN_SIDE} pixels, but it is {image.width} × {image.height}"
    if image.format == "PNG" and data[24] == 16:  # the header's bit depth, which Pillow hides
        return "8 bits per channel, but it has 16"
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        return f"grey, palette or RGB colours, but it is {image.mode}"
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        return "one still picture, but it is animated"
    return None


def _read_exif(image: Image.Image) -> tuple[int, bytes | None]:
    """The orientation, and a fresh block of the fields kept; a damaged block counts as none."""
    with suppress(Exception), _strict_pillow():
        found, kept = image.getexif(), Image.Exif()
        for tag in (ExifTags.Base.Artist, ExifTags.Base.Copyright):
            if isinstance(text := found.get(tag), str):
                kept[tag] = text.encode("latin-1")  # as Pillow decoded it: the bytes stay the same
        return found.get(ExifTags.Base.Orientation, 1), kept.tobytes() if kept else None
    return 1, None


def _to_rgb(image: Image.Image) -> tuple[Image.Image, bytes | None]:
    """The picture as RGB or RGBA, and the ICC profile that describes it, if one does."""
    profile: bytes = image.info.get("icc_profile") or b""
    space = profile[16:20]
    if space == b"GRAY" and image.mode in ("1", "L", "LA"):
        with suppress(ImageCms.PyCMSError, OSError):  # a damaged profile counts as none
            grey = image.convert("LA")
            source, srgb = ImageCms.getOpenProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
            rgb = ImageCms.profileToProfile(grey.getchannel("L"), source, srgb, outputMode="RGB")
            assert rgb is not None
            if image.has_transparency_data:
                rgb.putalpha(grey.getchannel("A"))
            return rgb, None
    rgb = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return rgb, profile if space == b"RGB " else None


def check_saving(artwork: Artwork, format: str, path: Path) -> None:
    """Raise ``ArtworkError`` if ``format``, a key of ``FORMATS``, cannot hold the transparency."""
    if format == "jpeg" and artwork.alpha is not None and bool((artwork.alpha < 1).any()):
        raise ArtworkError(f"{_named(path)}: expected png or webp for transparency, but got jpeg.")


def save_artwork(
    pixels: Tensor, artwork: Artwork, path: Path, *, format: str | None = None, quality: int = 95
) -> None:
    """Write ``pixels`` with what ``artwork`` carries, rounded to 8 bits, whole or not at all.

    ``pixels`` is (1, 3, H, W) float in [0, 1], of the artwork's size; ``format`` a key of
    ``FORMATS``, or None for the artwork's own; ``quality``, 1 to 100, counts for JPEG and WebP.

    PNG and, at quality 100, WebP hold the rounded pixels exactly, those under alpha 0 included.
    JPEG is written without chroma subsampling; WebP has no field for the resolution.

    Raises ``ValueError`` unless ``pixels`` is a picture in [0, 1], and ``ArtworkError`` for another
    size than the artwork's, an unknown format or quality, transparency or a size that the format
    cannot hold, a ``path`` that is the artwork's own source, or one that cannot be written.
    """
    name, format = _named(path), format or artwork.format
    lossless = is_lossless(format, quality)
    check_images(pixels, "pixels")
    size, came = tuple(artwork.pixels.shape), tuple(pixels.shape)
    if came != size:
        raise ArtworkError(f"{name}: expected pixels of shape {size}, but got {came}.")
    with suppress(OSError):  # a path that is not there yet is not the source's
        if artwork.source is not None and os.path.samefile(path, artwork.source):
            raise ArtworkError(f"{name}: expected another file than the source, but got it.")
    channels, alpha = pixels.detach().cpu().float(), artwork.alpha
    check_saving(artwork, format, path)
    if format != "jpeg" and alpha is not None:
        channels = torch.cat([channels, alpha.cpu()], dim=1)
    levels = (channels[0] * LEVELS).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    carried = {"icc_profile": artwork.icc_profile, "dpi": artwork.dpi, "exif": artwork.exif}
    options: dict[str, Any] = {key: value for key, value in carried.items() if value}
    if format == "jpeg":
        options |= {"quality": quality, "subsampling": "4:4:4", "optimize": True}
    elif format == "webp":
        options |= {"quality": quality, "lossless": lossless, "exact": True}
    with atomic_write(path) as temporary:
        try:
            Image.fromarray(levels.numpy()).save(temporary, format.upper(), **options)
        except ValueError as error:
            raise ArtworkError(f"{name} cannot be written as {format}: {error}.") from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path``, with its suffix, that takes its place once it is whole.

    On any failure, an interrupt included, it is removed and what was at ``path`` stays untouched.
    Raises ``ArtworkError`` with the system's reason if it cannot be written.
    """
    temporary = path.parent / f".comfy-glaze-{secrets.token_hex(8)}{path.suffix}"
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise ArtworkError(f"{_named(path)} cannot be written: {reason}.") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _named(path: Path | str) -> str:
    """A path as it can stand in one line of text, whatever bytes its name is made of."""
    text = str(path)
    return text if text.isprintable() else ascii(text)
