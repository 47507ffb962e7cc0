"""Artwork in and out: what a file holds is worked on, and what is given is saved."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms, ImageOps, JpegImagePlugin
from torch import Tensor

from comfy_glaze.files.artwork import Artwork, load_artwork, save_artwork
from comfy_glaze.files.atomic import atomic_write
from comfy_glaze.files.exif import Field, write_block
from comfy_glaze.files.finding import find_artworks
from comfy_glaze.files.formats import FORMATS, ArtworkError, is_lossless
from comfy_glaze.files.options import SaveOptions

from ..conftest import posix_words

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def levels(channels: int, height: int = 40, width: int = 48, seed: int = 0) -> np.ndarray:
    """Random 8-bit levels, (H, W, channels), with some alpha 0 and some 255 in a fourth channel."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    if channels == 4:
        values[:10, :, 3] = 0
        values[10:20, :, 3] = 255
    return values


def as_tensor(values: np.ndarray) -> Tensor:
    """(H, W, C) levels as the library's (1, C, H, W) in [0, 1]."""
    return torch.from_numpy(values.astype(np.float32) / np.float32(255)).permute(2, 0, 1)[None]


def write(path: Path, values: np.ndarray, **options: Any) -> Path:
    Image.fromarray(values).save(path, **options)
    return path


def artwork_of(values: np.ndarray, **fields: Any) -> Artwork:
    tensor = as_tensor(values)
    alpha = tensor[:, 3:] if tensor.shape[1] == 4 else None
    return Artwork(tensor[:, :3], alpha=alpha, **fields)


def decoded(path: Path) -> np.ndarray:
    """The file as another reader sees it: Pillow, with nothing of the library."""
    with Image.open(path) as image:
        return np.array(image)


# Loading


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".avif"])
def test_pixels_are_the_levels_of_the_file(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"art{suffix}", levels(3))
    artwork = load_artwork(path)
    assert artwork.pixels.dtype == torch.float32
    assert torch.equal(artwork.pixels, as_tensor(decoded(path)))
    assert artwork.alpha is None
    assert artwork.keep_clear is None
    assert suffix in FORMATS[artwork.format]
    assert artwork.source == path
    assert artwork.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("format", ["png", "webp"])
def test_alpha_and_what_lies_under_it_are_loaded_bit_for_bit(tmp_path: Path, format: str) -> None:
    values = levels(4)
    options = {"lossless": True, "exact": True} if format == "webp" else {}
    artwork = load_artwork(write(tmp_path / f"art.{format}", values, **options))
    assert artwork.alpha is not None
    assert torch.equal(torch.cat([artwork.pixels, artwork.alpha], 1), as_tensor(values))


def test_keep_clear_marks_exactly_the_transparent_pixels() -> None:
    values = levels(4)
    keep_clear = artwork_of(values).keep_clear
    assert keep_clear is not None
    assert keep_clear.shape == (1, 1, 40, 48)
    assert np.array_equal(keep_clear[0, 0].numpy(), (values[..., 3] == 0).astype(np.float32))
    assert 0 < keep_clear.sum() < keep_clear.numel()


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palette_become_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(levels(3)).convert(mode)
    image.save(tmp_path / "art.png")
    artwork = load_artwork(tmp_path / "art.png")
    assert torch.equal(artwork.pixels, as_tensor(np.array(image.convert("RGB"))))
    assert artwork.alpha is None


def test_grey_with_alpha_becomes_rgb_and_alpha(tmp_path: Path) -> None:
    values = levels(2)
    artwork = load_artwork(write(tmp_path / "art.png", values))
    assert artwork.alpha is not None
    assert torch.equal(artwork.pixels, as_tensor(values[..., [0, 0, 0]]))
    assert torch.equal(artwork.alpha, as_tensor(values[..., 1:]))


@pytest.mark.parametrize("transparent", [7, bytes(range(0, 256, 16))], ids=["one", "many"])
def test_a_transparent_palette_entry_becomes_alpha(
    tmp_path: Path, transparent: int | bytes
) -> None:
    index = np.random.default_rng(1).integers(0, 16, (40, 48), dtype=np.uint8)
    palette = np.random.default_rng(2).integers(0, 256, (16, 3), dtype=np.uint8)
    image = Image.fromarray(index)
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "art.png", transparency=transparent)
    alphas = np.full(16, 255, np.uint8)
    if isinstance(transparent, int):
        alphas[transparent] = 0
    else:
        alphas[:] = list(transparent)
    artwork = load_artwork(tmp_path / "art.png")
    assert artwork.alpha is not None
    assert torch.equal(artwork.pixels, as_tensor(palette[index]))
    assert torch.equal(artwork.alpha, as_tensor(alphas[index][..., None]))


@pytest.mark.parametrize(
    ("mode", "transparent"), [("1", 255), ("L", 9), ("RGB", (9, 9, 9))], ids=["1", "L", "RGB"]
)
def test_a_transparent_colour_becomes_alpha(
    tmp_path: Path, mode: str, transparent: int | tuple[int, int, int]
) -> None:
    values = levels(1)[..., [0, 0, 0]]
    values[5:9] = 9
    image = Image.fromarray(values).convert(mode)
    image.save(tmp_path / "art.png", transparency=transparent)
    artwork = load_artwork(tmp_path / "art.png")
    rgb = np.array(image.convert("RGB"))
    level = transparent if isinstance(transparent, int) else transparent[0]
    assert artwork.alpha is not None
    assert torch.equal(artwork.pixels, as_tensor(rgb))
    assert np.array_equal(artwork.alpha[0, 0] == 0, rgb[..., 0] == level)
    assert set(artwork.alpha.flatten().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", FORMATS)
def test_orientation_is_applied(tmp_path: Path, format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = write(tmp_path / f"art.{format}", levels(3), exif=exif.tobytes(), dpi=(300, 150))
    with Image.open(path) as image:
        upright = np.array(ImageOps.exif_transpose(image))
    artwork = load_artwork(path)
    assert torch.equal(artwork.pixels, as_tensor(upright))
    if format not in ("webp", "avif"):  # Pillow writes no resolution to these
        assert artwork.dpi == pytest.approx((300, 150) if orientation < 5 else (150, 300), rel=1e-4)
    save_artwork(artwork.pixels, artwork, tmp_path / "saved.png", SaveOptions(format="png"))
    with Image.open(tmp_path / "saved.png") as saved:
        assert ExifTags.Base.Orientation not in saved.getexif()
        assert np.array_equal(np.array(saved), upright)


def test_alpha_turns_with_the_pixels(tmp_path: Path) -> None:
    values = levels(4)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    artwork = load_artwork(write(tmp_path / "art.png", values, exif=exif.tobytes()))
    assert artwork.alpha is not None
    upright = as_tensor(np.rot90(values, -1).copy())
    assert torch.equal(torch.cat([artwork.pixels, artwork.alpha], 1), upright)


def grey_profile() -> bytes:
    """A minimal ICC profile of linear grey: a white point and an identity curve."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in (0.9642, 1, 0.8249)))
    curve = b"curv" + bytes(8)
    at = 128 + 4 + 2 * 12
    tags = struct.pack(">I", 2)
    tags += b"wtpt" + struct.pack(">2I", at, len(white))
    tags += b"kTRC" + struct.pack(">2I", at + len(white), len(curve))
    head = struct.pack(">I4sI", 0, b"none", 0x02100000) + b"mntrGRAYXYZ " + bytes(12) + b"acsp"
    body = head.ljust(68, b"\0") + white[8:] + bytes(48) + tags + white + curve
    return struct.pack(">I", len(body)) + body[4:]


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_grey_profile_is_applied_and_left_behind(tmp_path: Path, mode: str) -> None:
    values = levels(2)
    Image.fromarray(values).convert(mode).save(tmp_path / "art.png", icc_profile=grey_profile())
    artwork = load_artwork(tmp_path / "art.png")
    linear = values[..., :1] / 255
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert artwork.icc_profile is None
    difference = np.abs(artwork.pixels[0].permute(1, 2, 0).numpy() - srgb)
    assert difference[values[..., 0] >= 16].max() <= 1 / 255  # nearer black littlecms interpolates
    if mode == "LA":
        assert artwork.alpha is not None
        assert torch.equal(artwork.alpha, as_tensor(values[..., 1:]))
    else:
        assert artwork.alpha is None


@pytest.mark.parametrize(
    ("mode", "profile"),
    [("L", grey_profile()[:140]), ("RGB", grey_profile()), ("RGB", b"no profile at all")],
    ids=["grey, damaged", "RGB with a grey one", "RGB with rubbish"],
)
def test_a_profile_that_describes_nothing_is_left_behind(
    tmp_path: Path, mode: str, profile: bytes
) -> None:
    image = Image.fromarray(levels(3)).convert(mode)
    image.save(tmp_path / "art.png", icc_profile=profile)
    artwork = load_artwork(tmp_path / "art.png")
    assert artwork.icc_profile is None
    assert torch.equal(artwork.pixels, as_tensor(np.array(image.convert("RGB"))))


# Saving


@pytest.mark.parametrize(("format", "quality"), [("png", 95), ("tiff", 95), ("webp", 100)])
@pytest.mark.parametrize("channels", [3, 4])
def test_lossless_formats_hold_what_they_are_given(
    tmp_path: Path, format: str, quality: int, channels: int
) -> None:
    values = levels(channels)
    values[0, :, :3] = np.arange(48)[:, None] + 200  # every format must hold each of these
    artwork = artwork_of(values)
    path = tmp_path / f"saved.{format}"
    save_artwork(artwork.pixels, artwork, path, SaveOptions(format=format, quality=quality))
    assert np.array_equal(decoded(path), values)
    again = load_artwork(path)
    assert torch.equal(again.pixels, artwork.pixels)


def test_every_level_survives_a_round_trip(tmp_path: Path) -> None:
    values = np.repeat(np.arange(256, dtype=np.uint8).reshape(32, 8, 1), 4, 1).repeat(3, 2)
    artwork = load_artwork(write(tmp_path / "art.png", values))
    save_artwork(artwork.pixels, artwork, tmp_path / "saved.png")
    assert np.array_equal(decoded(tmp_path / "saved.png"), values)


@pytest.mark.parametrize(("part", "level"), [(0.4, 100), (0.6, 101)])
def test_saving_rounds_to_the_nearest_level(tmp_path: Path, part: float, level: int) -> None:
    pixels = torch.full((1, 3, 32, 32), (100 + part) / 255)
    save_artwork(pixels, Artwork(pixels), tmp_path / "saved.png")
    assert (decoded(tmp_path / "saved.png") == level).all()


@pytest.mark.parametrize(
    ("format", "quality", "lossless"),
    [
        ("png", 1, True),
        ("tiff", 1, True),
        ("jpeg", 100, False),
        ("webp", 99, False),
        ("webp", 100, True),
        ("avif", 100, False),
    ],
)
def test_is_lossless_tells_what_the_file_does(
    tmp_path: Path, format: str, quality: int, lossless: bool
) -> None:
    artwork = artwork_of(levels(3))
    path = tmp_path / f"saved.{format}"
    save_artwork(artwork.pixels, artwork, path, SaveOptions(format=format, quality=quality))
    assert is_lossless(format, quality) == lossless
    assert np.array_equal(decoded(path), levels(3)) == lossless


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_format_is_the_default(tmp_path: Path, format: str) -> None:
    artwork = artwork_of(levels(3), format=format)
    save_artwork(artwork.pixels, artwork, tmp_path / "saved")
    assert load_artwork(tmp_path / "saved").format == format


def test_jpeg_keeps_full_colour_resolution_and_obeys_quality(tmp_path: Path) -> None:
    artwork = artwork_of(levels(3))
    sizes = []
    for quality in (30, 95):
        path = tmp_path / f"{quality}.jpg"
        save_artwork(artwork.pixels, artwork, path, SaveOptions(format="jpeg", quality=quality))
        with Image.open(path) as image:
            assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4
        sizes.append(path.stat().st_size)
    assert sizes[0] < sizes[1] / 2


def test_a_palette_picture_keeps_what_it_carries(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "Z"
    image = Image.fromarray(levels(3)).convert("P")
    image.save(tmp_path / "a.png", icc_profile=SRGB, dpi=(300, 72), exif=exif.tobytes())
    artwork = load_artwork(tmp_path / "a.png")
    assert artwork.pixels.shape == (1, 3, 48, 40)
    assert artwork.icc_profile == SRGB
    assert artwork.dpi == pytest.approx((72, 300), rel=1e-3)
    assert artwork.exif is not None
    assert b"Z\0" in artwork.exif


@pytest.mark.parametrize("format", FORMATS)
def test_the_colour_profile_is_kept(tmp_path: Path, format: str) -> None:
    artwork = load_artwork(write(tmp_path / "art.png", levels(3), icc_profile=SRGB))
    assert artwork.icc_profile == SRGB
    save_artwork(artwork.pixels, artwork, tmp_path / "saved", SaveOptions(format=format))
    with Image.open(tmp_path / "saved") as saved:
        assert saved.info["icc_profile"] == SRGB


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("source", ["png", "jpeg", "tiff"])
def test_the_resolution_is_kept(tmp_path: Path, source: str, format: str) -> None:
    artwork = load_artwork(write(tmp_path / f"art.{source}", levels(3), dpi=(300, 72)))
    save_artwork(artwork.pixels, artwork, tmp_path / "saved", SaveOptions(format=format))
    assert load_artwork(tmp_path / "saved").dpi == pytest.approx((300, 72), rel=1e-3)
    if format in ("png", "jpeg", "tiff"):
        with Image.open(tmp_path / "saved") as saved:
            assert saved.info["dpi"] == pytest.approx((300, 72), rel=1e-3)


def test_a_resolution_that_no_format_can_hold_is_left_behind(tmp_path: Path) -> None:
    artwork = load_artwork(write(tmp_path / "art.png", levels(3), dpi=(1e7, 300)))
    assert artwork.dpi is None


def test_a_png_holds_the_picture_and_nothing_else(tmp_path: Path) -> None:
    artwork = load_artwork(write(tmp_path / "art.png", levels(3)))
    save_artwork(artwork.pixels, artwork, tmp_path / "saved.png")
    data, at, chunks = (tmp_path / "saved.png").read_bytes(), 8, []
    while at < len(data):
        chunks.append(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    assert chunks == [b"IHDR", b"IDAT", b"IEND"]


TEXTS = {"prompt": '{"1": "a Zoë"}', "workflow": "花\n{}", "empty": ""}


@pytest.mark.parametrize("bits", [8, 16])
def test_texts_are_written_right_after_the_header_of_a_png(tmp_path: Path, bits: int) -> None:
    values = levels(3)
    fields: dict[str, Any] = {"icc_profile": SRGB, "dpi": (300.0, 300.0)}
    if bits == 16:
        pytest.importorskip("pyvips", reason="needs pyvips (extra io)")
        fields["levels"] = values.astype(np.uint16) * 257
    artwork = artwork_of(values, texts=TEXTS, **fields)
    save_artwork(artwork.pixels, artwork, tmp_path / "art.png")
    with Image.open(tmp_path / "art.png") as file:
        file.load()
        assert {name: file.info[name] for name in TEXTS} == TEXTS
    data = (tmp_path / "art.png").read_bytes()
    assert data[37:41] == b"tEXt"
    assert data.count(b"iTXt") == 1  # only what Latin-1 does not hold


@pytest.mark.parametrize("format", FORMATS)
def test_texts_go_into_no_other_format_and_are_never_read_back(tmp_path: Path, format: str) -> None:
    artwork = artwork_of(levels(3), texts={"prompt": "the secret style"})
    path = tmp_path / f"art.{format}"
    save_artwork(artwork.pixels, artwork, path, SaveOptions(format))
    assert (b"secret" in path.read_bytes()) is (format == "png")
    again = load_artwork(path)
    assert not again.texts
    save_artwork(again.pixels, again, tmp_path / "again.png")
    assert b"secret" not in (tmp_path / "again.png").read_bytes()


def exif_with_thumbnail(thumbnail: bytes) -> bytes:
    """An EXIF block as cameras and editors write it: fields, then a thumbnail in a second IFD."""
    texts = {0x010E: b"described", 0x0131: b"Editor 1.0", 0x013B: "Zoë".encode(), 0x8298: b"(c) Z"}
    after = 8 + 2 + 12 * len(texts) + 4
    strings, entries = b"", b""
    for tag, text in texts.items():
        text += b"\0"
        entries += struct.pack("<HHII", tag, 2, len(text), after + 30 + len(strings))
        strings += text
    start = after + 30 + len(strings)
    first = struct.pack("<H", len(texts)) + entries + struct.pack("<I", after)
    second = struct.pack("<HHHIIHHII", 2, 0x0201, 4, 1, start, 0x0202, 4, 1, len(thumbnail))
    return b"Exif\0\0II*\0\x08\0\0\0" + first + second.ljust(30, b"\0") + strings + thumbnail


PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:City="Delft" '
    b'photoshop:History="opened the-earlier-version.psd"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_what_describes_the_work_travels_and_what_shows_the_original_does_not(
    tmp_path: Path, source: str, format: str
) -> None:
    buffer = BytesIO()
    Image.fromarray(levels(3)).resize((16, 16)).save(buffer, "JPEG")
    thumbnail = buffer.getvalue()
    path = tmp_path / f"art.{source}"
    write(path, levels(3), exif=exif_with_thumbnail(thumbnail), xmp=PACKET)
    if source != "tiff":  # of which Pillow writes what it understands
        assert thumbnail in path.read_bytes()
    assert source in ("png", "tiff") or b"earlier" in path.read_bytes()  # Pillow writes no XMP

    artwork = load_artwork(path)
    save_artwork(artwork.pixels, artwork, tmp_path / "saved", SaveOptions(format=format))
    data = (tmp_path / "saved").read_bytes()
    with Image.open(tmp_path / "saved") as saved:
        found = saved.getexif()
        if source != "tiff":  # Pillow writes ASCII to these
            assert found[0x013B].encode("latin-1") == "Zoë".encode()
        kept = {0x010E: "described", 0x0131: "Editor 1.0", 0x8298: "(c) Z"}
        assert {tag: found[tag] for tag in kept} == kept
        assert not found.get_ifd(ExifTags.IFD.IFD1)
    if source not in ("png", "tiff"):
        assert b"Delft" in data
    for lost in (thumbnail[-80:-40], thumbnail[-40:], b"History", b"earlier"):
        assert lost not in data


def test_a_picture_without_anything_to_say_gets_no_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    assert load_artwork(write(tmp_path / "art.jpg", levels(3), exif=exif.tobytes())).exif is None


# Refusals


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "bmp"}, "must be one of png, jpeg, webp, tiff, avif, but got 'bmp'."),
        ({"quality": 0}, "quality must lie between 1 and 100, but got 0."),
        ({"quality": 101}, "quality must lie between 1 and 100, but got 101."),
        ({"format": "jpeg"}, "saved: expected png or webp for transparency, but got jpeg."),
        ({"pixels": torch.zeros(1, 3, 40, 40)}, "shape (1, 3, 40, 48), but got (1, 3, 40, 40)."),
        ({"pixels": torch.full((1, 3, 40, 48), 1.01)}, "pixels must lie in [0, 1]"),
        ({"pixels": torch.full((1, 3, 40, 48), torch.nan)}, "pixels must lie in [0, 1]"),
        ({"pixels": torch.zeros(40, 48, 3)}, "pixels must be a float tensor of shape"),
    ],
)
def test_what_cannot_be_saved_is_refused_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    artwork = artwork_of(levels(4))
    asked = dict(changes)
    pixels = asked.pop("pixels", artwork.pixels)
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the words are checked below
        save_artwork(pixels, artwork, tmp_path / "saved", SaveOptions(**asked))
    check_sentence(caught.value, words)
    assert list(tmp_path.iterdir()) == []


def check_sentence(error: BaseException, words: str) -> None:
    sentence = str(error)
    assert words in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_an_opaque_alpha_channel_does_not_stand_in_the_way_of_jpeg(tmp_path: Path) -> None:
    values = levels(4)
    values[..., 3] = 255
    artwork = artwork_of(values)
    save_artwork(artwork.pixels, artwork, tmp_path / "saved.jpg", SaveOptions(format="jpeg"))
    assert load_artwork(tmp_path / "saved.jpg").alpha is None


LONG_EXIF = write_block({0: [Field(0x010E, 2, 70_000, b"d" * 69_999 + b"\0")]})


@pytest.mark.parametrize(
    ("format", "fields", "size", "words"),
    [
        ("webp", {}, 16_384, "as webp: encoding error 5: Image size exceeds WebP limit"),
        ("jpeg", {"exif": LONG_EXIF}, 48, "as jpeg: EXIF data is too long."),
        ("jpeg", {"iptc": bytes(70_000)}, 48, "as jpeg: IPTC data is too long."),
    ],
)
def test_what_the_format_cannot_hold_is_refused(
    tmp_path: Path, format: str, fields: dict[str, Any], size: int, words: str
) -> None:
    artwork = Artwork(torch.zeros(1, 3, 32, size), **fields)
    with pytest.raises(ArtworkError) as caught:
        save_artwork(artwork.pixels, artwork, tmp_path / "saved", SaveOptions(format=format))
    check_sentence(caught.value, words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("link", [None, Path.symlink_to, Path.hardlink_to])
def test_the_source_is_never_overwritten(
    tmp_path: Path, link: Callable[[Path, Path], None] | None
) -> None:
    source = write(tmp_path / "art.png", levels(3))
    before = source.read_bytes()
    target = source
    if link:
        target = tmp_path / "other.png"
        link(target, source)
    artwork = load_artwork(source)
    with pytest.raises(ArtworkError) as caught:
        save_artwork(1 - artwork.pixels, artwork, target)
    check_sentence(caught.value, f"{target}: expected another file than the source, but got it.")
    assert source.read_bytes() == before


# Whole or not at all


def failing_after_half(error: BaseException) -> Callable[..., None]:
    def write(self: Path, data: bytes) -> None:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise error

    return write


def failing(error: BaseException) -> Callable[..., None]:
    def call(*arguments: Any, **options: Any) -> None:
        raise error

    return call


FULL = OSError(errno.ENOSPC, "No space left on device")
READ_ONLY = PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize("existing", [b"the earlier picture", None])
@pytest.mark.parametrize(
    ("where", "failure", "words"),
    [
        ("pathlib.Path.write_bytes", failing_after_half(FULL), "cannot be written: No space left"),
        ("pathlib.Path.write_bytes", failing_after_half(KeyboardInterrupt()), ""),
        ("PIL.Image.Image.save", failing(ValueError("odd")), "as png: odd."),
        ("PIL.Image.Image.save", failing(OSError("encoder error")), ": encoder error."),
        ("pathlib.Path.write_bytes", failing(READ_ONLY), "cannot be written: Permission denied."),
        ("os.fsync", failing(FULL), "cannot be written: No space left on device."),
        ("os.replace", failing(READ_ONLY), "cannot be written: Permission denied."),
    ],
)
def test_a_failed_save_leaves_what_was_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    failure: Callable[..., None],
    words: str,
    existing: bytes | None,
) -> None:
    target = tmp_path / "art.png"
    if existing:
        target.write_bytes(existing)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(where, failure)
    artwork = artwork_of(levels(3))
    with pytest.raises((ArtworkError, KeyboardInterrupt)) as caught:
        save_artwork(artwork.pixels, artwork, target)
    if words:
        check_sentence(caught.value, words)
        assert str(target) in str(caught.value)
    else:
        assert isinstance(caught.value, KeyboardInterrupt)
    assert sorted(tmp_path.iterdir()) == before
    assert not existing or target.read_bytes() == existing


def test_a_file_that_outgrows_what_the_system_allows_leaves_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    artwork = artwork_of(levels(3, 64, 64))  # 12 KB that do not compress
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(ArtworkError) as caught:
            save_artwork(artwork.pixels, artwork, tmp_path / "art.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    check_sentence(caught.value, "art.png cannot be written: File too large.")
    assert list(tmp_path.iterdir()) == []


@posix_words
@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("missing/art.png", "art.png cannot be written: No such file or directory."),
        ("file/art.png", "art.png cannot be written: Not a directory."),
        ("folder", "folder cannot be written: Is a directory."),
    ],
)
def test_a_place_that_takes_no_file_is_refused(tmp_path: Path, place: str, words: str) -> None:
    (tmp_path / "file").write_bytes(b"a file")
    (tmp_path / "folder").mkdir()
    artwork = artwork_of(levels(3))
    with pytest.raises(ArtworkError) as caught:
        save_artwork(artwork.pixels, artwork, tmp_path / place)
    check_sentence(caught.value, words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_saving_replaces_an_earlier_result(tmp_path: Path) -> None:
    artwork = artwork_of(levels(3))
    (tmp_path / "saved.png").write_bytes(b"the earlier picture")
    save_artwork(artwork.pixels, artwork, tmp_path / "saved.png")
    assert np.array_equal(decoded(tmp_path / "saved.png"), levels(3))


def test_an_atomic_write_shows_nothing_until_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "art.png.glaze.json"
    with atomic_write(target) as temporary:
        temporary.write_text("{}")
        assert not target.exists()
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".comfy-glaze-")
        assert temporary.suffix == ".json"
    assert target.read_text() == "{}"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(os.name != "posix", reason="file modes are a matter of POSIX")
def test_a_written_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with atomic_write(tmp_path / "written") as temporary:
        temporary.write_text("")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "written")]
    assert modes[0] == modes[1]


# Finding


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_folders_are_searched_to_the_bottom_in_order(tmp_path: Path) -> None:
    top = tmp_path / "works"
    names = ["a.JPG", "b/c.webp", "b/d/e.jpeg", "b.png", "Z.PNG"]
    touch(*(top / name for name in names))
    touch(top / "notes.txt", top / ".hidden.png", top / ".cache/thumb.png", top / "png")
    outside = tmp_path / "outside"
    touch(outside / "secret.png")
    (top / "link.png").symlink_to(outside / "secret.png")
    (top / "linked").symlink_to(outside)
    expected = [Path(name) for name in ("Z.PNG", "a.JPG", "b/c.webp", "b/d/e.jpeg", "b.png")]
    assert find_artworks([top]) == [(top / path, path) for path in expected]


def test_files_are_taken_as_named_and_in_the_order_given(tmp_path: Path) -> None:
    named = [tmp_path / "z.png", tmp_path / "a/b.jpg", tmp_path / "a/.hidden.tiff"]
    touch(*named)
    assert find_artworks(named) == [(path, Path(path.name)) for path in named]


def test_a_relative_name_stays_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a.png", tmp_path / "b/c.png")
    monkeypatch.chdir(tmp_path)
    expected = [(Path("a.png"), Path("a.png")), (Path("b/c.png"), Path("c.png"))]
    assert find_artworks([Path("a.png"), Path("b")]) == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "missing: expected a file or folder, but there is none."),
        ("empty", "empty: expected pictures in it, but there are none."),
    ],
)
def test_a_source_without_pictures_is_refused(tmp_path: Path, name: str, words: str) -> None:
    touch(tmp_path / "empty/notes.txt", tmp_path / "a.png")
    with pytest.raises(ArtworkError) as caught:
        find_artworks([tmp_path / "a.png", tmp_path / name])
    check_sentence(caught.value, words)


def test_a_folder_that_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a.png")
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path))
    monkeypatch.setattr(os, "scandir", failing(error))
    with pytest.raises(ArtworkError) as caught:
        find_artworks([tmp_path])
    check_sentence(caught.value, f"{tmp_path} cannot be read: Permission denied.")


def test_an_artwork_can_be_given_other_pixels() -> None:
    artwork = artwork_of(levels(4), icc_profile=SRGB)
    changed = replace(artwork, pixels=1 - artwork.pixels)
    assert changed.icc_profile == SRGB
    assert torch.equal(changed.pixels + artwork.pixels, torch.ones_like(artwork.pixels))
