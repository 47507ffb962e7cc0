"""Decoding: the levels that a picture file holds, upright, and all that describes them."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from ..images import Levels, bands
from ..optional import PackageError, import_optional
from . import exif as exif_block
from . import formats
from .coding import (
    NOT_TOLD,
    Coding,
    another_follows,
    av1_sampling,
    jpeg_quality,
    jpeg_sampling,
    webp_is_lossless,
)
from .colour import grey_curve
from .colour_numbers import from_box
from .exif import IPTC, Fields, number, page_kinds, read_fields, resolution
from .formats import NAMES, ArtworkError
from .header import TO_RGB, Unexpected, check_header, check_size
from .palette import FEW_COLOURS, number_of_colours
from .png_chunks import colour_numbers, texts_of
from .xmp import has_gain_map, iptc_of_resources

# Fields of a TIFF file that hold what other formats keep outside EXIF
_BITS, XMP, _PHOTOSHOP, ICC = 0x0102, 0x02BC, 0x8649, 0x8773
_SAMPLE_FORMAT, _EXTRA_SAMPLES = 0x0153, 0x0152

_EXTRA = "comfy-glaze[io]"
_PILLOW_SETTINGS = threading.Lock()


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a file holds.

    Attributes:
        levels: (H, W, 1 to 4), uint8 or uint16, upright; grey or RGB, then alpha.
        icc_profile: of RGB, None for none or one of another space.
        dpi: as stored, horizontal and vertical of the upright picture.
        fields, xmp, iptc: metadata as stored.
        texts: those of a PNG that tell of the work, by keyword.
        colour_chunks: of a PNG, chunks that say in numbers what the profile says.
        coding: how the file is coded.
        has_others: whether it holds further pictures beside this one.
    """

    levels: Levels
    icc_profile: bytes | None
    dpi: tuple[float, float] | None
    fields: Fields = field(default_factory=dict)
    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: dict[str, str] = field(default_factory=dict)
    colour_chunks: bytes = b""
    coding: Coding = NOT_TOLD
    has_others: bool = False


def decode(data: bytes, kind: str, name: str) -> Decoded:
    """Decode a file's bytes, of a format that :func:`comfy_glaze.files.formats.read_file` told.

    Raises ``ArtworkError`` with one sentence for what is broken or not worked on.
    """
    try:
        decoders = {"heif": _decode_heif, "tiff": _decode_tiff}
        return decoders.get(kind, _decode_with_pillow)(data, kind)
    except (Unexpected, ArtworkError) as refused:
        raise ArtworkError(f"{name}: expected {refused}.") from None
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        limit = f"at most {formats.MAX_MEGAPIXELS} megapixels"
        raise ArtworkError(f"{name}: expected {limit}, but it is larger.") from error
    except Exception as error:  # decoders raise whatever they trip over in a broken file
        whole = f"a whole {kind.upper()} file"
        raise ArtworkError(f"{name}: expected {whole}, but it is broken or cut short.") from error


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Pillow with its process-wide settings as needed here, whatever the host set: files that were
    cut short fail, warnings are quiet, and ``MAX_MEGAPIXELS`` is the limit of what is decoded."""
    with _PILLOW_SETTINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        Image.MAX_IMAGE_PIXELS = formats.MAX_MEGAPIXELS * 500_000  # it raises at twice this number
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before


def _decode_with_pillow(data: bytes, kind: str) -> Decoded:
    """PNG, JPEG, WebP, AVIF, GIF and BMP; what has more than 8 bits is decoded by libvips."""
    with strict_pillow():
        image = Image.open(BytesIO(data), formats=[kind.upper()])
        check_header(image)
        colour_chunks = _read_numbers(image, data) if kind == "png" else b""
        if kind == "avif":
            _read_box(image.info, data)
        deep = (kind == "png" and data[24] == 16) or (kind == "avif" and _is_deep_avif(data))
        if deep:
            levels, icc_profile = _with_profile(_decode_with_vips(data), image.info)
        else:
            image.load()
            levels, icc_profile = _levels_of(image, data)
    coding = _coding_of(image, levels, data, kind)
    if coding.sampling == "4:0:0" and not deep:  # decoders give grey AVIF files as RGB
        levels = levels[..., [0, *range(3, levels.shape[-1])]]
    fields = {}
    with suppress(Exception), strict_pillow():
        # Pillow reads EXIF from wherever a format keeps it, and tells AVIF's own rotation there
        fields = read_fields(image.info.get("exif") or image.getexif().tobytes())
    turned = int(number(fields.get(0, []), exif_block.ORIENTATION) or 1)
    xmp = image.info.get("xmp") if isinstance(image.info.get("xmp"), bytes) else None
    return _upright(
        Decoded(
            levels,
            icc_profile,
            image.info.get("dpi") if kind in ("png", "jpeg", "bmp") else resolution(fields),
            fields,
            xmp,
            _iptc_of(image),
            texts_of(data) if kind == "png" else {},
            # grey levels went through their curve, so that the numbers no longer hold
            colour_chunks if levels.shape[-1] > 2 else b"",
            coding,
            kind == "jpeg" and (another_follows(data) or has_gain_map(xmp)),
        ),
        1 if deep and kind == "avif" else turned,  # libvips turns AVIF pictures by itself
    )


def _read_numbers(image: ImageFile.ImageFile, data: bytes) -> bytes:
    """Put the colour space that a PNG gives by numbers in the place of its profile; the chunks that
    are to be written again."""
    try:
        numbers, chunks = colour_numbers(data)
    except ValueError as refused:
        raise Unexpected(str(refused)) from None
    if numbers is not None:
        image.info["icc_profile"] = numbers.profile(is_grey=data[25] in (0, 4))
    elif b"cICP" in chunks:  # sRGB, whatever a profile says
        image.info.pop("icc_profile", None)
    return chunks


def _read_box(info: dict[Any, Any], data: bytes) -> None:
    """Put the colour space that an AVIF or HEIF file gives by numbers in its profile's place, if
    that is empty."""
    if info.get("icc_profile"):
        return
    try:
        numbers = from_box(data)
    except ValueError as refused:
        raise Unexpected(str(refused)) from None
    if numbers is not None:
        info["icc_profile"] = numbers.profile(is_grey=False)


def _coding_of(image: ImageFile.ImageFile, levels: Levels, data: bytes, kind: str) -> Coding:
    """How a decoded file is coded."""
    if kind == "jpeg":
        return Coding(
            jpeg_quality(getattr(image, "quantization", {})),
            jpeg_sampling(getattr(image, "layer", ())),
            bool(image.info.get("progressive")),
        )
    if kind == "avif":
        return Coding(sampling=av1_sampling(data))
    indexed = levels.shape[-1] > 2 and image.mode == "P"
    if levels.shape[-1] > 2 and levels.dtype == np.uint8 and not indexed:
        indexed = number_of_colours(levels, FEW_COLOURS) is not None
    return Coding(
        quality=100 if kind == "webp" and webp_is_lossless(data) else None, indexed=indexed
    )


def _levels_of(image: Image.Image, data: bytes) -> tuple[Levels, bytes | None]:
    """The 8-bit levels of a loaded picture as grey or RGB, with alpha where it has transparency,
    and the profile that describes them."""
    if image.format == "PNG" and image.mode == "L" and "transparency" in image.info:
        # Pillow stretches grey of 2 and 4 bits to 8, but not the level that is transparent
        image.info["transparency"] *= 255 // (2 ** data[24] - 1)
    is_grey = image.mode in ("1", "L", "LA")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    levels = _array_of(image if image.mode == mode else image.convert(mode))
    if image.mode == "P" and not image.info.get("icc_profile"):  # a palette of greys
        is_grey = bool((levels[..., 1:3] == levels[..., :1]).all())
    return _with_profile(
        levels[..., [0, *range(3, levels.shape[-1])]] if is_grey else levels, image.info
    )


def _array_of(image: Image.Image) -> Levels:
    """A loaded picture in RGB or RGBA as levels, band by band: as a whole Pillow makes two further
    copies of it, for which a large picture leaves no room."""
    width, height = image.size
    levels = np.empty((height, width, len(image.getbands())), np.uint8)
    for band in bands(height, width):
        rows = slice(band.top, band.top + band.window_height)
        levels[rows] = np.asarray(image.crop((0, rows.start, width, rows.stop)))
    return levels


def _with_profile(levels: Levels, info: dict[Any, Any]) -> tuple[Levels, bytes | None]:
    """Grey levels (one or two channels) go through their profile, if they have one, to sRGB."""
    icc_profile: bytes = info.get("icc_profile") or b""
    if levels.shape[-1] > 2:
        return levels, icc_profile if icc_profile[16:20] == b"RGB " else None
    grey, curve = levels[..., :1], grey_curve(icc_profile)
    if curve is not None:
        most = np.iinfo(levels.dtype).max
        grey = np.rint(curve[grey.astype(np.int64) * (65535 // most)] * most).astype(levels.dtype)
    return np.concatenate([grey, levels[..., 1:]], axis=-1), None


def _iptc_of(image: Image.Image) -> bytes | None:
    """IPTC records from a JPEG's Photoshop segment, or ImageMagick's text in a PNG."""
    resources = image.info.get("photoshop")
    if isinstance(resources, dict) and isinstance(resources.get(0x0404), bytes):
        return bytes(resources[0x0404])
    raw = image.info.get("Raw profile type iptc")
    if isinstance(raw, str):
        with suppress(ValueError, IndexError):
            found = bytes.fromhex("".join(raw.split("\n")[3:]))  # after a name and a length
            return iptc_of_resources(found) if found[:4] == b"8BIM" else found
    return None


def _upright(decoded: Decoded, orientation: int) -> Decoded:
    """The picture as it is meant to be seen."""
    swapped = orientation in (5, 6, 7, 8)
    dpi = decoded.dpi[::-1] if decoded.dpi and swapped else decoded.dpi
    return replace(decoded, levels=_turn(decoded.levels, orientation), dpi=dpi)


def _turn(levels: Levels, orientation: int) -> Levels:
    """Levels (H, W, C) as their EXIF orientation, 1 to 8, says they are seen."""
    if orientation in (5, 6, 7, 8):
        levels = levels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        levels = levels[::-1]
    if orientation in (2, 3, 6, 7):
        levels = levels[:, ::-1]
    return np.ascontiguousarray(levels)


# --- more than 8 bits, TIFF and HEIF -------------------------------------------------------------


def vips() -> Any:
    """The package pyvips, which carries 16 bits per channel; Pillow does not."""
    try:
        return import_optional("pyvips", "pyvips", _EXTRA, "pyvips pyvips-binary")
    except PackageError as error:
        raise Unexpected(f"8 bits per channel, but it has 16, which needs {error}") from None


def _decode_with_vips(data: bytes) -> Levels:
    """Levels (H, W, 1 to 4) of 16 bits; a file that is cut short fails."""
    image = vips().Image.new_from_buffer(data, "", fail_on="truncated")
    check_size(image.width, image.height)
    if image.interpretation not in ("rgb16", "grey16") or image.format != "ushort":
        raise Unexpected(f"grey or RGB colours, but it is {image.interpretation}: {TO_RGB}")
    levels: npt.NDArray[np.uint16] = image.numpy()
    return levels.reshape(image.height, image.width, image.bands)


def _is_deep_avif(data: bytes) -> bool:
    """Whether its AV1 configuration says 10 or 12 bits (AV1-ISOBMFF, ``av1C``)."""
    at = data.find(b"av1C")
    return at >= 0 and bool(data[at + 6] & 0x40)


def _decode_tiff(data: bytes, kind: str) -> Decoded:
    """The first page; further ones must be small copies of it, which are left behind."""
    first, *others = page_kinds(data)
    if first % 2:
        raise Unexpected(
            "a picture first, but it begins with a thumbnail: develop a camera's raw file to a "
            "TIFF or PNG"
        )
    if any(page % 2 == 0 for page in others):
        pages = 1 + len(others)
        raise Unexpected(f"one still picture, but it has {pages} pages: save each as a file")
    fields = read_fields(data)
    tags = {field.tag: field.value for field in fields[0]}
    orientation = int(number(fields[0], exif_block.ORIENTATION) or 1)
    bits, coding = max(tags.get(_BITS, b"\1")[::2]), NOT_TOLD
    if bits == 16 and number(fields[0], _SAMPLE_FORMAT) in (None, 1):
        if number(fields[0], _EXTRA_SAMPLES) == 1:
            raise Unexpected(
                "transparency beside the colours, but it is multiplied into them: save without "
                "premultiplied alpha"
            )
        levels, icc_profile = _with_profile(_decode_with_vips(data), {"icc_profile": tags.get(ICC)})
    elif bits > 8:
        raise Unexpected(
            f"whole numbers of 8 or 16 bits per channel, but it has others of {bits}: save with 16 "
            "bits per channel"
        )
    else:
        with strict_pillow():
            image = Image.open(BytesIO(data), formats=["TIFF"])
            check_header(image)
            image.load()
        levels, icc_profile = _levels_of(image, data)
        coding = _coding_of(image, levels, data, kind)
        levels = _turn(levels, _BACK.get(orientation, orientation))  # Pillow turned it upright
    decoded = Decoded(
        levels,
        icc_profile,
        resolution(fields),
        fields,
        tags.get(XMP),
        tags.get(IPTC) or iptc_of_resources(tags.get(_PHOTOSHOP, b"")),
        coding=coding,
    )
    return _upright(decoded, orientation)


_BACK = {6: 8, 8: 6}  # EXIF orientations that undo each other; the others undo themselves


def _decode_heif(data: bytes, kind: str) -> Decoded:
    """The primary picture; its thumbnails, depth maps and companions are left behind."""
    try:
        heif = import_optional("pillow_heif", "pillow-heif", _EXTRA)
    except PackageError as error:
        expected = f"a {NAMES.replace('HEIF, ', '')} file"
        raise Unexpected(f"{expected}, but it is a HEIF file, which needs {error}") from None
    if data[8:12] in (b"msf1", b"hevc", b"hevx"):
        raise Unexpected("one still picture, but it is a sequence: save single frames as PNG")
    image = heif.open_heif(data, convert_hdr_to_8bit=False)
    check_size(*image.size)
    dtype = np.uint16 if image.mode.endswith(";16") else np.uint8
    if image.mode.split(";")[0] not in ("L", "RGB", "RGBA"):
        raise Unexpected(f"grey or RGB colours, but it is {image.mode}: {TO_RGB}")
    levels: Levels = np.asarray(image).astype(dtype)
    if levels.ndim == 2:
        levels = levels[..., None]
    _read_box(image.info, data)
    levels, icc_profile = _with_profile(levels, image.info)
    fields = {}
    with suppress(Exception):
        fields = read_fields(image.info.get("exif") or b"")
    dpi = resolution(fields)
    # libheif turns pictures by itself, and a HEIF file's EXIF orientation counts for nothing
    xmp = image.info.get("xmp")
    companions = image.info.get("aux") or image.info.get("depth_images")
    decoded = Decoded(levels, icc_profile, dpi, fields, xmp, _iptc_of(image))
    return replace(decoded, has_others=len(image) > 1 or bool(companions) or has_gain_map(xmp))
