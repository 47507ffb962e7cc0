"""Files that are broken, odd or not what they say: each is worked on or refused in one sentence."""

from __future__ import annotations

import os
import random
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageFile

from comfy_glaze.files import formats as formats_module
from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.files.finding import find_artworks
from comfy_glaze.files.formats import FORMATS, ArtworkError

from ..conftest import names_of_any_bytes, posix_words

RGBA = np.random.default_rng(0).integers(0, 256, (40, 48, 4), dtype=np.uint8)
RGB = RGBA[..., :3].copy()


def encoded(values: np.ndarray, format: str, mode: str | None = None, **options: Any) -> bytes:
    buffer = BytesIO()
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(buffer, format, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(name + body)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG by the book; ``rows`` with their filter bytes, ``extra`` chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + pixels + chunk(b"IEND", b"")


def jpeg_that_claims(width: int, height: int) -> bytes:
    data = encoded(RGB, "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def even_webp(width: int, height: int) -> bytes:
    """A whole WebP in one colour, whose pixels take no bits at all."""
    bits = 0x2F | (width - 1) << 8 | (height - 1) << 22
    bits |= sum(1 << at for at in (43, 47, 51, 55, 59))  # five codes of one symbol each
    body = b"WEBPVP8L" + struct.pack("<I", 8) + bits.to_bytes(8, "little")
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff_that_claims(width: int, height: int) -> bytes:
    data = bytearray(encoded(RGB, "TIFF"))
    at = int.from_bytes(data[4:8], "little") + 2
    for tag, size in ((256, width), (257, height)):
        entry = next(
            i for i in range(at, at + 200, 12) if data[i : i + 2] == struct.pack("<H", tag)
        )
        data[entry : entry + 12] = struct.pack("<HHII", tag, 4, 1, size)
    return bytes(data)


def refusal(path: Path) -> str:
    """The sentence with which a file is refused."""
    with pytest.raises(ArtworkError) as caught:
        load_artwork(path)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


ANIMATED = "one still picture, but it is animated: save its frames as single PNGs."
CMYK = "grey, palette or RGB colours, but it is CMYK: convert to RGB in your editor"
OTHER_FRAME = Image.fromarray(RGB[::-1].copy())
TWO_FRAMES: dict[str, Any] = {"save_all": True, "append_images": [OTHER_FRAME]}
NEITHER = "expected a PNG, JPEG, WebP, TIFF, AVIF, HEIF, GIF or BMP file, but it is"
BROKEN = "file, but it is broken or cut short."

REFUSED = {
    "empty": (b"", f"{NEITHER} empty."),
    "text": (b"Not a picture, a shopping list.\n" * 40, f"{NEITHER} none of these."),
    "zeros": (bytes(5000), f"{NEITHER} none of these."),
    "TIFF, nothing in it": (b"MM\0*" + bytes(100), f"expected a whole TIFF {BROKEN}"),
    "BigTIFF": (encoded(RGB, "TIFF", big_tiff=True), f"{NEITHER} a BigTIFF file: save as a usual"),
    "TIFF of two pages": (
        encoded(RGB, "TIFF", **TWO_FRAMES),
        "it has 2 pages: save each as a file.",
    ),
    "TIFF of floats": (
        encoded(RGB[..., 0].astype(np.float32), "TIFF"),
        "whole numbers of 8 or 16 bits per channel, but it has others of 32: save with 16 bits",
    ),
    "CMYK TIFF": (encoded(RGB, "TIFF", "CMYK"), CMYK),
    "TIFF, half": (encoded(RGB, "TIFF")[:3000], f"expected a whole TIFF {BROKEN}"),
    "vast TIFF": (tiff_that_claims(20000, 20000), "100 megapixels, but it is larger."),
    "JPEG XL": (b"\xff\x0a" + bytes(100), f"{NEITHER} a JPEG XL file: convert to PNG."),
    "animated GIF": (
        encoded(RGB, "GIF", **TWO_FRAMES),
        ANIMATED,
    ),
    "GIF, half": (encoded(RGB, "GIF")[:1500], f"expected a whole GIF {BROKEN}"),
    "BMP, half": (encoded(RGB, "BMP")[:1500], f"expected a whole BMP {BROKEN}"),
    "AVIF, beginning only": (
        b"\0\0\0 ftypavif\0\0\0\0avifmif1miaf",
        f"expected a whole AVIF {BROKEN}",
    ),
    "AVIF, half": (encoded(RGB, "AVIF")[:1500], f"expected a whole AVIF {BROKEN}"),
    "animated AVIF": (
        encoded(RGB, "AVIF", **TWO_FRAMES),
        ANIMATED,
    ),
    "Photoshop": (b"8BPS\0\1" + bytes(100), f"{NEITHER} a Photoshop file: export a PNG"),
    "CMYK": (
        encoded(RGB, "JPEG", "CMYK"),
        CMYK,
    ),
    "animated PNG": (
        encoded(RGB, "PNG", **TWO_FRAMES),
        ANIMATED,
    ),
    "animated WebP": (
        encoded(RGB, "WEBP", **TWO_FRAMES),
        ANIMATED,
    ),
    "1 × 1": (encoded(RGB[:1, :1], "PNG"), "at least 32 pixels, but it is 1 × 1."),
    "narrow": (encoded(RGB[:, :31], "JPEG"), "at least 32 pixels, but it is 31 × 40."),
    "low": (encoded(RGB[:31], "WEBP"), "at least 32 pixels, but it is 48 × 31."),
    "vast PNG": (png(20000, 20000, 8, 2, b""), "at most 100 megapixels, but it is larger."),
    "vaster PNG": (png(2**31 - 1, 2**31 - 1, 8, 2, b""), "100 megapixels, but it is larger."),
    "vast JPEG": (jpeg_that_claims(20000, 20000), "100 megapixels, but it is larger."),
    "vast WebP": (even_webp(16000, 16000), "100 megapixels, but it is larger."),
    "PNG, beginning only": (encoded(RGB, "PNG")[:8], f"expected a whole PNG {BROKEN}"),
    "PNG, header only": (encoded(RGB, "PNG")[:33], f"expected a whole PNG {BROKEN}"),
    "PNG, half": (encoded(RGB, "PNG")[:3000], f"expected a whole PNG {BROKEN}"),
    "JPEG, beginning only": (encoded(RGB, "JPEG")[:4], f"expected a whole JPEG {BROKEN}"),
    "JPEG, half": (encoded(RGB, "JPEG")[:1200], f"expected a whole JPEG {BROKEN}"),
    "WebP, beginning only": (encoded(RGB, "WEBP")[:16], f"expected a whole WEBP {BROKEN}"),
    "WebP, half": (encoded(RGB, "WEBP")[:500], f"expected a whole WEBP {BROKEN}"),
    "PNG, odd header": (png(40, 40, 3, 2, b""), f"expected a whole PNG {BROKEN}"),
    "PNG, no pixels": (png(40, 40, 8, 2, b""), f"expected a whole PNG {BROKEN}"),
    "PNG, two headers": (
        png(40, 40, 0, 0, bytes(41 * 40), png(40, 40, 8, 0, b"")[8:33] + chunk(b"tRNS", b"\0\3")),
        f"expected a whole PNG {BROKEN}",
    ),
    "PNG, no palette": (png(40, 40, 8, 3, bytes(41 * 40)), f"expected a whole PNG {BROKEN}"),
    "PNG, too much transparency": (
        png(40, 40, 8, 3, bytes(41 * 40), chunk(b"PLTE", b"rgb") + chunk(b"tRNS", bytes(300))),
        f"expected a whole PNG {BROKEN}",
    ),
    "PNG, profile bomb": (
        png(40, 40, 8, 0, bytes(41 * 40), chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**25)))),
        f"expected a whole PNG {BROKEN}",
    ),
}


def test_a_webp_in_one_colour_is_whole() -> None:
    with Image.open(BytesIO(even_webp(48, 40))) as image:
        assert image.convert("RGB").getcolors() == [(48 * 40, (0, 0, 0))]


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_is_named(tmp_path: Path, what: str) -> None:
    data, words = REFUSED[what]
    path = tmp_path / "art.png"
    path.write_bytes(data)
    sentence = refusal(path)
    assert sentence.startswith(f"{path}: expected ")
    assert words in sentence


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_loop(path: Path) -> None:
    path.symlink_to(path)


@posix_words
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Path.mkdir, "art.png: expected a picture file, but it is a folder or a device."),
        (make_pipe, "art.png: expected a picture file, but it is a folder or a device."),
        (make_loop, "art.png cannot be read: Too many levels of symbolic links."),
        (lambda path: None, "art.png cannot be read: No such file or directory."),
    ],
    ids=["folder", "pipe", "loop", "missing"],
)
def test_what_is_no_file_is_refused(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    make(tmp_path / "art.png")
    assert words in refusal(tmp_path / "art.png")


def test_a_file_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*arguments: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "art.png").write_bytes(encoded(RGB, "PNG"))
    monkeypatch.setattr(Path, "open", denied)
    assert "art.png cannot be read: Permission denied." in refusal(tmp_path / "art.png")


@names_of_any_bytes
@pytest.mark.parametrize("name", [b"two\nlines.png", b"\x1b[31mred.png", b"caf\xe9.png"])
def test_a_name_of_any_bytes_stands_in_one_printable_line(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"text")
    sentence = refusal(path)
    assert sentence.isprintable()
    assert sentence.isascii()
    assert [file for file, _ in find_artworks([tmp_path])] == [path]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".txt", ""])
def test_content_decides_not_the_suffix(tmp_path: Path, format: str, suffix: str) -> None:
    path = tmp_path / f"art{suffix}"
    path.write_bytes(encoded(RGB, format))
    assert load_artwork(path).format == format


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_host_that_lets_cut_files_pass_does_not_change_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, part: float
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encoded(RGB, format)
    (tmp_path / "art").write_bytes(data[: int(part * len(data))])
    assert f"expected a whole {format.upper()} {BROKEN}" in refusal(tmp_path / "art")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True  # the host's own setting is back


@pytest.mark.parametrize("limit", [1000, 500])
def test_a_host_with_a_lower_limit_does_not_change_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)  # Pillow warns above it, raises at twice
    (tmp_path / "art").write_bytes(encoded(RGB, "PNG"))
    assert load_artwork(tmp_path / "art").pixels.shape == (1, 3, 40, 48)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("height", "allowed"), [(1000, True), (1001, False)])
def test_the_limit_is_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, height: int, allowed: bool
) -> None:
    monkeypatch.setattr(formats_module, "MAX_MEGAPIXELS", 1)
    Image.new("RGB", (1000, height)).save(tmp_path / "art", format)
    if allowed:
        assert load_artwork(tmp_path / "art").pixels.shape == (1, 3, height, 1000)
    else:
        assert "at most 1 megapixels, but it is larger." in refusal(tmp_path / "art")


def test_out_of_memory_is_not_called_a_broken_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(self: ImageFile.ImageFile) -> None:
        raise MemoryError

    (tmp_path / "art").write_bytes(encoded(RGB, "JPEG"))
    monkeypatch.setattr(ImageFile.ImageFile, "load", exhausted)
    with pytest.raises(MemoryError):
        load_artwork(tmp_path / "art")


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_transparent_grey_of_any_depth(tmp_path: Path, depth: int) -> None:
    """Pillow takes the transparent level of 2- and 4-bit grey for one of 8 bits."""
    highest = 2**depth - 1
    row = b"\0" + np.resize(np.array([0, 255], np.uint8), 40).tobytes()
    data = png(320 // depth, 40, depth, 0, row * 40, chunk(b"tRNS", struct.pack(">H", highest)))
    (tmp_path / "art.png").write_bytes(data)
    artwork = load_artwork(tmp_path / "art.png")
    assert artwork.alpha is not None
    assert set(artwork.pixels.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(artwork.alpha, 1 - artwork.pixels[:, :1])


def test_of_several_pictures_in_a_jpeg_the_first_is_the_artwork(tmp_path: Path) -> None:
    data = encoded(RGB, "MPO", **TWO_FRAMES)
    (tmp_path / "art.jpg").write_bytes(data)
    with Image.open(BytesIO(data)) as image:
        assert (image.format, image.n_frames) == ("MPO", 2)  # type: ignore[attr-defined]
    artwork = load_artwork(tmp_path / "art.jpg")
    first = np.array(Image.open(BytesIO(encoded(RGB, "JPEG"))))
    assert artwork.format == "jpeg"
    assert np.array_equal((artwork.pixels[0] * 255).permute(1, 2, 0).round().numpy(), first)


@pytest.mark.parametrize("damage", [6, 10, 16, 24, 40])
def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path, damage: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "Z"
    block = exif.tobytes()
    spoilt = block[:damage] + b"\xff" * 8 + block[damage + 8 :]
    (tmp_path / "art.png").write_bytes(encoded(RGB, "PNG", exif=spoilt))
    artwork = load_artwork(tmp_path / "art.png")
    assert sorted(artwork.pixels.shape[2:]) == [40, 48]
    assert artwork.pixels.sum() == pytest.approx(RGB.sum(dtype=np.int64) / 255)


def test_an_artist_that_is_a_number_does_not_cost_the_orientation(tmp_path: Path) -> None:
    block = struct.pack("<HHHIIHHII", 2, 0x0112, 3, 1, 6, 0x013B, 3, 1, 7) + bytes(4)
    data = encoded(RGB, "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0" + block)
    (tmp_path / "art.png").write_bytes(data)
    artwork = load_artwork(tmp_path / "art.png")
    assert artwork.pixels.shape == (1, 3, 48, 40)
    assert artwork.exif is None


SEEDS = {
    "png": encoded(RGBA, "PNG", dpi=(300, 300)),
    "palette": encoded(RGB, "PNG", "P", transparency=3),
    "grey": encoded(RGB, "PNG", "L", transparency=3),
    "jpeg": encoded(RGB, "JPEG", dpi=(300, 300), exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"),
    "webp": encoded(RGBA, "WEBP", icc_profile=b"some profile"),
    "lossless": encoded(RGBA, "WEBP", lossless=True),
}


def with_true_checksums(data: bytes) -> bytes:
    """A PNG with its chunks' checksums put right, so that damage gets past them."""
    at, whole = 8, data[:8]
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + size > len(data):
            break
        whole += chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + size])
        at += 12 + size
    return whole + data[at:]


@pytest.mark.parametrize("kind", SEEDS)
def test_random_damage_gives_a_picture_or_one_sentence(tmp_path: Path, kind: str) -> None:
    rng = random.Random(kind)
    path = tmp_path / "art"
    sentences = []
    for _ in range(60):
        data = bytearray(SEEDS[kind])
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(min(len(data), 300))] = rng.choice((0, 255, rng.randrange(256)))
        path.write_bytes(with_true_checksums(bytes(data)) if data[1:4] == b"PNG" else data)
        try:
            artwork = load_artwork(path)
        except ArtworkError as error:
            sentences.append(str(error))
        else:
            assert 0 <= artwork.pixels.min() <= artwork.pixels.max() <= 1
    assert all(text.startswith(f"{path}: expected ") for text in sentences)
    assert all(text.endswith(".") and text.isprintable() for text in sentences)
    assert 0 < len(sentences) < 60  # neither harmless damage nor always in the first bytes
