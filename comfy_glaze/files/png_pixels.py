"""The pixels of a PNG file as they are smallest.

An encoder writes each row as differences from its neighbours, which suits photographs and
paintings. In a drawing with even ground a cloak is grain of a few levels: as differences it has
twice as many values, and as it stands it takes up to a fifth less room.
Source: PNG Specification, third edition (W3C, 2025), §9 (filtering), §11.2 (chunks), §12.7.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

from ..images import Levels
from .png_chunks import chunk

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: grey, with alpha, RGB, with alpha
_ROWS, _SAMPLES = 32, 8  # of a picture that is tried both ways: rows in a stripe, and stripes
_WHOLE = 2**20  # values of a picture that is small enough to be tried as a whole


def is_better_unfiltered(levels: Levels) -> bool:
    """Whether levels (H, W, 1 to 4) of 8 bits make a smaller file as they stand; of a large picture
    told by stripes that are spread over it."""
    if levels.size <= _WHOLE:
        return len(unfiltered(levels)) < _filtered_size(levels)
    tops = np.linspace(0, max(0, len(levels) - _ROWS), _SAMPLES).astype(int)
    stripes = [levels[top : top + _ROWS] for top in sorted(set(tops.tolist()))]
    plain = sum(len(unfiltered(stripe)) for stripe in stripes)
    return plain < sum(_filtered_size(stripe) for stripe in stripes)


def _filtered_size(levels: Levels) -> int:
    buffer = BytesIO()
    Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels).save(buffer, "PNG")
    return len(buffer.getvalue())


def unfiltered(levels: Levels) -> bytes:
    """A PNG file of levels (H, W, 1 to 4) of 8 bits, its rows without filters."""
    height, width, channels = levels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    packer = zlib.compressobj(memLevel=zlib.DEF_MEM_LEVEL + 1)
    packed = []
    for top in range(0, height, _ROWS):  # a large picture is copied nowhere as a whole
        rows = levels[top : top + _ROWS].reshape(-1, width * channels)
        marked = np.pad(rows, ((0, 0), (1, 0)))  # each begins with its filter, 0 for none
        packed.append(packer.compress(marked.tobytes()))
    packed.append(packer.flush())
    body = [chunk(b"IDAT", part) for part in packed if part]
    return b"".join([_SIGNATURE, chunk(b"IHDR", header), *body, chunk(b"IEND", b"")])
