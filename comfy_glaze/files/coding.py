"""How a file is coded: what of it the cloaked picture's file takes over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# The luminance table that libjpeg scales by the quality (ITU-T T.81, table K.1), sorted
_LUMINANCE = np.sort(
    [
        *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
        *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
        *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
    ]
)
_SAMPLINGS = {  # of luma's factors over chroma's; the encoder knows three, the others become those
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (1, 2): "4:2:2",
    (2, 2): "4:2:0",
    (4, 1): "4:2:0",
    (4, 2): "4:2:0",
}


@dataclass(frozen=True)
class Coding:
    """How a source is coded.

    Attributes:
        quality: of a JPEG file, on libjpeg's scale; 100 for lossless WebP; None where it cannot be
            told.
        sampling: of the colours of a JPEG or AVIF file, such as ``4:2:0``; None for other formats.
        progressive: whether a JPEG file is shown coarse first.
        indexed: whether the colours stand in a palette, or are so few that they could.
    """

    quality: int | None = None
    sampling: str | None = None
    progressive: bool = False
    indexed: bool = False


NOT_TOLD = Coding()


def jpeg_quality(tables: Mapping[int, Sequence[int]]) -> int | None:
    """The quality, 1 to 100, at which libjpeg's luminance table comes closest to a file's."""
    if 0 not in tables or len(tables[0]) != 64:
        return None
    found = np.sort(tables[0])
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    scaled = np.clip((_LUMINANCE * scale + 50) // 100, 1, 255)
    return 1 + int(np.abs(scaled - found).sum(axis=1).argmin())


def jpeg_sampling(layers: Sequence[tuple[int, int, int, int]]) -> str | None:
    """The sampling of colours, from Pillow's list of components; None for a grey file."""
    if len(layers) < 3:
        return None
    (_, across, down, _), (_, chroma_across, chroma_down, _) = layers[:2]
    return _SAMPLINGS.get((across // max(1, chroma_across), down // max(1, chroma_down)))


def av1_sampling(data: bytes) -> str | None:
    """The sampling that an AVIF file's configuration tells (AV1-ISOBMFF, ``av1C``)."""
    at = data.find(b"av1C")
    if at < 0 or at + 7 > len(data):
        return None
    bits = data[at + 6]
    if bits & 0x10:
        return "4:0:0"
    return {0: "4:4:4", 0x08: "4:2:2", 0x0C: "4:2:0"}.get(bits & 0x0C)


def webp_is_lossless(data: bytes) -> bool:
    """Whether a WebP file's picture stands in a lossless chunk (RFC 9649, §2)."""
    at = 12
    while at + 8 <= len(data):
        if data[at : at + 4] in (b"VP8L", b"VP8 "):
            return data[at : at + 4] == b"VP8L"
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return False


def another_follows(data: bytes) -> bool:
    """Whether a JPEG file goes on with another picture after its end, as those of telephones do
    (a gain map, a depth map) and MPO files (ITU-T T.81, annex B: markers and their lengths)."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == 0xD9:
            return b"\xff\xd8\xff" in data[at + 2 :]
        if marker in (0x00, 0xFF) or 0xD0 <= marker <= 0xD8:  # of coded pixels, or without a length
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False
