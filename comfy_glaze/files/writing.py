"""Encoding: levels and what describes them, as the bytes of a file in one of the formats.

Every file is made anew, so that nothing of the source is in it but what is passed here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..images import Levels
from .coding import NOT_TOLD, Coding
from .exif import (
    IPTC,
    ORIENTATION,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    Field,
    Fields,
    read_fields,
    resolution_fields,
    with_texts,
    write_block,
    write_ifds,
)
from .formats import is_lossless
from .palette import as_indexed
from .png_chunks import chunk
from .png_pixels import is_better_unfiltered, unfiltered
from .reading import ICC, XMP, vips
from .xmp import as_resource


@dataclass(frozen=True, eq=False)
class Carried:
    """What is written with the pixels: all of it clean, see :mod:`comfy_glaze.files.exif` and
    ``xmp``.

    Attributes:
        texts: by keyword, as PNG holds them; elsewhere those about the work stand in EXIF.
        colour_chunks: what a PNG gets in the profile's place.
        coding: how the file is to be coded, as far as its format leaves a choice.
    """

    icc_profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    fields: Fields = field(default_factory=dict)
    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    colour_chunks: bytes = b""
    coding: Coding = NOT_TOLD


def encode(levels: Levels, carried: Carried, format: str, quality: int) -> bytes:
    """A whole file of levels (H, W, 1 to 4), uint8, or uint16 where the format is deep.

    Levels are grey or RGB, then alpha.  WebP knows no grey, AVIF only one of 8 bits without alpha.

    Raises ``ValueError`` for what the format cannot hold, in its encoder's words.
    """
    if format == "png":
        return _png(levels, carried)
    if format == "tiff":
        return _tiff(levels, carried)
    options: dict[str, Any] = {"icc_profile": carried.icc_profile, "xmp": carried.xmp}
    options = {key: value for key, value in options.items() if value}
    fields = with_texts(carried.fields, carried.texts)
    if carried.dpi and (fields or format != "jpeg"):  # formats without a field of their own for it
        fields[0] = fields.get(0, []) + resolution_fields(carried.dpi)
    if fields:
        options["exif"] = write_block(fields)
    if levels.dtype == np.uint16:
        return _deep_avif(levels, options, quality)
    coding, sampling = carried.coding, carried.coding.sampling or "4:4:4"
    if format == "jpeg":
        options |= {"quality": quality, "optimize": True, "progressive": coding.progressive}
        options["subsampling"] = sampling
        if carried.dpi:
            options["dpi"] = carried.dpi
        if carried.iptc:
            segment = b"Photoshop 3.0\0" + as_resource(carried.iptc)
            if len(segment) > 65_533:
                raise ValueError("IPTC data is too long")
            options["extra"] = b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment
    elif format == "webp":
        lossless = is_lossless(format, quality)
        options |= {"quality": quality, "lossless": lossless, "exact": True}
    else:
        grey = levels.shape[-1] == 1
        options |= {"quality": quality, "subsampling": "4:0:0" if grey else sampling}
    return _pillow(levels, format, options)


def _pillow(levels: Levels, format: str, options: dict[str, Any]) -> bytes:
    buffer = BytesIO()
    plane = levels[..., 0] if levels.shape[-1] == 1 else levels
    Image.fromarray(plane).save(buffer, format.upper(), **options)
    return buffer.getvalue()


def _vips_image(levels: Levels) -> Any:
    kind = "grey16" if levels.shape[-1] < 3 else "rgb16"
    return vips().Image.new_from_array(levels, interpretation=kind)


def _deep_avif(levels: Levels, options: dict[str, Any], quality: int) -> bytes:
    """12 of the 16 bits, which is the most that AVIF holds."""
    image = _vips_image(levels).copy()
    names = {"icc_profile": "icc-profile-data", "xmp": "xmp-data", "exif": "exif-data"}
    for key, value in options.items():
        image.set_type(vips().GValue.blob_type, names[key], value)
    settings = {"compression": "av1", "bitdepth": 12, "Q": quality, "subsample_mode": "off"}
    return bytes(image.heifsave_buffer(**settings))


# --- PNG -----------------------------------------------------------------------------------------

_PIXELS = (b"PLTE", b"IDAT", b"IEND")  # what an encoder's picture begins with, and ends


def _png(levels: Levels, carried: Carried) -> bytes:
    """The pixels by an encoder, the rest as chunks of its own before them."""
    if levels.dtype == np.uint16:
        data = bytes(_vips_image(levels).pngsave_buffer(bitdepth=16, keep="none"))
    else:
        data = _pillow_png(levels, carried.coding.indexed)
    whole = memoryview(data)  # its slices are no copies: a large picture's would fill the memory
    at, pixels, header = 8, whole[:0], b""
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IHDR":
            header = data[at:end]
        elif data[at + 4 : at + 8] in _PIXELS:  # the encoder's own remarks stay out
            pixels = whole[at:]
            break
        at = end
    chunks, texts = b"", PngInfo()
    for keyword, said in carried.texts.items():
        texts.add_text(keyword, said)  # tEXt, or iTXt where the text is not Latin-1
    for name, body, *_ in texts.chunks:
        chunks += chunk(name, body)
    if carried.colour_chunks:
        chunks += carried.colour_chunks
    elif carried.icc_profile:
        chunks += chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(carried.icc_profile))
    if carried.dpi:
        per_metre = (round(value / 0.0254) for value in carried.dpi)
        chunks += chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1))
    if carried.fields:
        fields = dict(carried.fields)
        if carried.dpi:
            fields[0] = fields.get(0, []) + resolution_fields(carried.dpi)
        chunks += chunk(b"eXIf", write_block(fields)[6:])
    if carried.xmp:
        chunks += chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + carried.xmp)
    if carried.iptc:  # PNG has no field for it; this is how ImageMagick keeps it
        records = as_resource(carried.iptc)
        text = f"\niptc\n{len(records):8}\n{records.hex()}\n".encode()
        chunks += chunk(b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(text))
    return b"".join([data[:8], header, chunks, pixels])


def _pillow_png(levels: Levels, indexed: bool) -> bytes:
    """Levels of 8 bits, with a palette where that is wanted and possible."""
    small = as_indexed(levels) if indexed and levels.shape[-1] > 2 else None
    if small is None:
        return unfiltered(levels) if is_better_unfiltered(levels) else _pillow(levels, "png", {})
    buffer = BytesIO()
    image, alpha = small
    options = {"transparency": alpha} if alpha else {}
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


# --- TIFF ----------------------------------------------------------------------------------------


def _tiff(levels: Levels, carried: Carried) -> bytes:
    """The pixels by an encoder, then its directory written anew with the rest in it."""
    if levels.dtype == np.uint16:
        image = _vips_image(levels)
        settings = {"compression": "deflate", "predictor": "horizontal", "keep": "none"}
        data = bytes(image.tiffsave_buffer(**settings))
    else:
        data = _pillow(levels, "tiff", {"compression": "tiff_adobe_deflate"})
    replaced = (X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, ORIENTATION)
    first = [found for found in read_fields(data)[0] if found.tag not in replaced]
    fields = with_texts(carried.fields, carried.texts)
    first += fields.get(0, [])
    if carried.dpi:
        first += resolution_fields(carried.dpi)
    blobs = {XMP: (1, carried.xmp), IPTC: (7, carried.iptc), ICC: (7, carried.icc_profile)}
    first += [Field(tag, kind, len(value), value) for tag, (kind, value) in blobs.items() if value]
    data += b"\0" * (len(data) % 2)
    body, at = write_ifds({**fields, 0: first}, len(data))
    return b"II*\0" + struct.pack("<I", at) + data[8:] + body
