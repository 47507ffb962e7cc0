"""The file formats: what is read, what is written, how each is told, and what each can hold."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from .other_kinds import RAW, other_kind

# Formats that are read and written, with their suffixes, the usual one first
FORMATS = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg"),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
    "avif": (".avif",),
}
READ_ONLY = {"heif": (".heic", ".heif", ".hif"), "gif": (".gif",), "bmp": (".bmp", ".dib")}
SUFFIXES = tuple(s for suffixes in (*FORMATS.values(), *READ_ONLY.values()) for s in suffixes)
GREY = ("png", "jpeg", "tiff", "avif")  # hold one channel of colour
DEEP = ("png", "tiff", "avif")  # hold more than 8 bits per channel

MAX_MEGAPIXELS = 100
MAX_MEGABYTES = 1000  # of a file: what 100 megapixels of 16 bits and four channels need, and more
MIN_SIDE = 32  # px: below it, an encoder's features are too few to lead anywhere

NAMES = "PNG, JPEG, WebP, TIFF, AVIF, HEIF, GIF or BMP"
"""What is read, as it stands in a sentence."""

_SIGNATURES = {  # how a file begins, whatever its suffix says
    "png": rb"\x89PNG\r\n\x1a\n",
    "jpeg": rb"\xff\xd8\xff",
    "webp": rb"RIFF.{4}WEBP",
    "tiff": rb"(II\*\0|MM\0\*)(?!.{4}CR)",
    "avif": rb".{4}ftypavi[fs]|.{4}ftypmif1.{8}avif",
    "heif": rb".{4}ftyp(hei|hev|mif|msf)",
    "gif": rb"GIF8[79]a",
    "bmp": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
}
_HEAD = 512  # bytes that tell a file's kind


class ArtworkError(ValueError):
    """One sentence: what was expected of a file, and what came."""


def named(path: Path | str) -> str:
    """A path as it can stand in one line of text, whatever bytes its name is made of."""
    text = str(path)
    return text if text.isprintable() else ascii(text)


def is_lossless(format: str, quality: int) -> bool:
    """Whether such a file holds exactly the pixels it is given: PNG, TIFF, and WebP at quality 100.

    Raises ``ArtworkError`` for an unknown format, or a quality outside 1 to 100.
    """
    if format not in FORMATS:
        raise ArtworkError(f"The format must be one of {', '.join(FORMATS)}, but got {format!r}.")
    if not 1 <= quality <= 100:
        raise ArtworkError(f"The quality must lie between 1 and 100, but got {quality}.")
    return format in ("png", "tiff") or (format == "webp" and quality == 100)


def suffix_format(path: Path) -> str | None:
    """The format that a file's suffix stands for, None for any other suffix."""
    known = (FORMATS | READ_ONLY).items()
    return next((kind for kind, suffixes in known if path.suffix.lower() in suffixes), None)


def output_format(asked: str, found: str, target: Path) -> str:
    """The format to write: the one asked for, or under ``same`` the source's own.

    A source that can only be read becomes what the target's suffix says, or PNG.
    """
    if asked != "same":
        return asked
    if found in FORMATS:
        return found
    by_suffix = suffix_format(target)
    return by_suffix if by_suffix in FORMATS else "png"


def kind_of(head: bytes, suffix: str = "") -> str | None:
    """The format of a file that begins so, a key of ``FORMATS`` or ``READ_ONLY``; None for none.

    Args:
        suffix: of its name, with the dot: what cameras write begins as a TIFF does.
    """
    signs = _SIGNATURES.items()
    kind = next((kind for kind, sign in signs if re.match(sign, head, re.DOTALL)), None)
    return None if kind == "tiff" and suffix.lower() in RAW else kind


def read_head(path: Path) -> bytes:
    """The beginning of a file, which tells its kind."""
    with path.open("rb") as file:
        return file.read(_HEAD)


def read_file(path: Path, shown_as: Path | None = None) -> tuple[bytes, str]:
    """A picture file's bytes and format; other files are not read through.

    Raises ``ArtworkError`` as :func:`check_file` does.
    """
    kind = check_file(path, shown_as)
    try:
        return path.read_bytes(), kind
    except OSError as error:
        raise ArtworkError(
            f"{named(shown_as or path)} cannot be read: {error.strerror}."
        ) from error


def check_file(path: Path, shown_as: Path | None = None) -> str:
    """The format of a picture file, told by its beginning.

    Raises ``ArtworkError`` for what is no file, no picture, too large, or cannot be read.  It names
    ``shown_as`` where ``path`` is a temporary name for that file.
    """
    name = named(shown_as or path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise ArtworkError(f"{name}: expected a picture file, but it is a folder or a device.")
        head = read_head(path)
    except OSError as error:
        raise ArtworkError(f"{name} cannot be read: {error.strerror}.") from error
    suffix = (shown_as or path).suffix
    kind = kind_of(head, suffix)
    if kind is None:
        other = other_kind(suffix, head)
        came = "empty" if not head else "none of these"
        came = came if other is None else f"{other[0]}: {other[1]}"
        raise ArtworkError(f"{name}: expected a {NAMES} file, but it is {came}.")
    if status.st_size > MAX_MEGABYTES * 10**6:
        raise ArtworkError(
            f"{name}: expected a file of at most {MAX_MEGABYTES} megabytes, "
            f"but it has {status.st_size // 10**6}."
        )
    return kind


def is_same_file(path: Path, other: Path | None) -> bool:
    """Whether both are one file; a path that is not there yet is no other's."""
    try:
        return other is not None and os.path.samefile(path, other)
    except OSError:
        return False
