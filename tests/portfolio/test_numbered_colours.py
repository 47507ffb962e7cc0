"""What PNG files say in chunks: texts, and colours in numbers."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from comfy_glaze.files.options import SaveOptions

from .kinds import cloak, report_of, soft


def test_texts_about_the_work_are_kept_and_prompts_are_not(top: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "Zoë")
    texts.add_text("Title", "Boats", zip=True)
    texts.add_itxt("Copyright", "© Zoë 船")
    texts.add_text("Description", "Steps: 20, Sampler: Euler")
    texts.add_text("Comment", "not for others")
    texts.add_text("workflow", "{}")
    Image.fromarray(soft()).save(top / "art.png", pnginfo=texts)
    report_of(cloak(top)["art.png"])
    with Image.open(top.parent / "out/art.png") as saved:
        found = saved.text  # type: ignore[attr-defined]
        assert found == {"Author": "Zoë", "Title": "Boats", "Copyright": "© Zoë 船"}
    report_of(cloak(top, SaveOptions("webp"))["art.webp"])
    with Image.open(top.parent / "out/art.webp") as saved:
        assert saved.getexif()[0x010D] == "Boats"
        assert "Zoë".encode() in saved.info["exif"]


def with_chunks(picture: Image.Image, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with chunks before its pixels."""
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    data = buffer.getvalue()
    extra = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    return data[:33] + extra + data[33:]


P3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
LINEAR = struct.pack(">I", 100_000)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ({b"gAMA": LINEAR}, lambda x: 255 * (1.055 * (x / 255) ** (1 / 2.4) - 0.055)),
        ({b"gAMA": struct.pack(">I", 45455)}, lambda x: x),
        ({b"cICP": bytes([1, 8, 0, 1])}, lambda x: 255 * (1.055 * (x / 255) ** (1 / 2.4) - 0.055)),
        ({b"cICP": bytes([1, 13, 0, 1])}, lambda x: x),
    ],
    ids=["gAMA", "gAMA as in sRGB", "cICP linear", "cICP sRGB"],
)
def test_colours_in_numbers_are_seen_and_stay(
    top: Path, chunks: dict[bytes, bytes], expected: Callable[[np.ndarray], np.ndarray]
) -> None:
    values = soft().clip(40, 255)
    (top / "art.png").write_bytes(with_chunks(Image.fromarray(values), *chunks.items()))
    report_of(cloak(top)["art.png"])
    saved = (top.parent / "out/art.png").read_bytes()
    assert all(name + body in saved for name, body in chunks.items())
    assert b"iCCP" not in saved
    found, before = (
        expected(np.asarray(Image.open(top.parent / at / "art.png")).astype(float))
        for at in ("out", "in")
    )
    assert 0 < np.abs(found - before).max() <= 6 + 1.5  # in sRGB, as a browser shows it


def test_colours_in_numbers_become_a_profile_elsewhere(top: Path) -> None:
    picture = Image.new("RGB", (64, 48), (40, 230, 60))
    picture.paste((200, 90, 30), (8, 8, 40, 30))
    (top / "art.png").write_bytes(with_chunks(picture, (b"gAMA", LINEAR), (b"cHRM", P3)))
    report_of(cloak(top, SaveOptions("tiff"))["art.tif"])
    with Image.open(top.parent / "out/art.tif") as saved:
        profile = saved.info["icc_profile"]
    # littlecms, which did not write it, sees linear light in Display P3
    space = ImageCms.ImageCmsProfile(BytesIO(profile))
    srgb = ImageCms.profileToProfile(
        Image.new("RGB", (1, 1), (128, 128, 128)), space, ImageCms.createProfile("sRGB")
    )
    assert srgb.getpixel((0, 0)) == pytest.approx((188, 188, 188), abs=2)
    red = ImageCms.profileToProfile(
        Image.new("RGB", (1, 1), (100, 20, 20)), space, ImageCms.createProfile("sRGB")
    )
    assert red.getpixel((0, 0)) == pytest.approx((181, 72, 76), abs=2)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [((9, 16, 0, 1), "HDR (PQ)"), ((9, 18, 0, 1), "HDR (HLG)"), ((77, 1, 0, 1), "cICP 77, 1")],
)
def test_what_cannot_be_shown_as_srgb_is_refused_by_name(
    top: Path, numbers: tuple[int, ...], words: str
) -> None:
    (top / "art.png").write_bytes(with_chunks(Image.fromarray(soft()), (b"cICP", bytes(numbers))))
    (outcome,) = cloak(top).values()
    assert words in (outcome.error or "")


def avif(primaries: int, transfer: int) -> bytes:
    """An AVIF file that gives its colour space in numbers."""
    buffer = BytesIO()
    Image.fromarray(soft()).save(buffer, "AVIF", quality=90)
    data = bytearray(buffer.getvalue())
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", primaries, transfer)
    return bytes(data)


def test_numbers_in_avif_become_a_profile_or_are_refused(top: Path) -> None:
    (top / "p3.avif").write_bytes(avif(12, 13))
    (top / "hdr.avif").write_bytes(avif(9, 16))
    (top / "video.avif").write_bytes(avif(1, 1))
    found = cloak(top, SaveOptions(keep_shift=0))
    assert "HDR (PQ)" in (found["hdr.avif"].error or "")
    for name, has in (("p3.avif", True), ("video.avif", False)):
        report_of(found[name])
        with Image.open(top.parent / "out" / name) as saved:
            assert ("icc_profile" in saved.info) is has


def test_grey_in_linear_light_is_seen_as_such(top: Path) -> None:
    picture = Image.fromarray(soft()).convert("L")
    (top / "art.png").write_bytes(with_chunks(picture, (b"gAMA", LINEAR)))
    report_of(cloak(top)["art.png"])
    with Image.open(top.parent / "out/art.png") as saved:
        assert saved.mode == "L"
        found = np.asarray(saved).astype(float)
    light = np.asarray(picture) / 255
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(found - 255 * srgb).max() <= 6 + 1
    assert b"gAMA" not in (top.parent / "out/art.png").read_bytes()
