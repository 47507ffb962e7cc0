"""Wide colours: the view of a file, and how a cloak comes back onto its own levels."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from comfy_glaze.files.artwork import load_artwork, save_artwork, saved_view
from comfy_glaze.files.colour import carry, matrix_profile, view_of
from comfy_glaze.files.options import SaveOptions

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

PRIMARIES = {  # XYZ under D50 of red, green and blue
    "Display P3": "0.51512 0.2412 -0.00105 0.29198 0.69225 0.04189 0.1571 0.06657 0.78407",
    "Adobe RGB": "0.60974 0.31111 0.01947 0.20528 0.62567 0.06087 0.14919 0.06322 0.74457",
    "ProPhoto": "0.79767 0.28804 0.0 0.13519 0.71188 0.0 0.03134 0.00009 0.82491",
}
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def curve(space: str) -> bytes:
    """A curve of each kind that profiles hold: by parameters, by gamma, by points."""
    if space == "Display P3":
        return b"para\0\0\0\0\0\3\0\0" + fixed(*SRGB_CURVE)
    if space == "Adobe RGB":
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    points = np.rint(65535 * np.linspace(0, 1, 1024) ** 1.8).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", 1024) + points.tobytes()


def profile_of(space: str) -> bytes:
    """An ICC profile by the book: three primaries, one curve."""
    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249)}
    primaries = np.array(PRIMARIES[space].split(), float).reshape(3, 3)
    for letter, xyz in zip(b"rgb", primaries, strict=True):
        tags[bytes([letter]) + b"XYZ"] = b"XYZ \0\0\0\0" + fixed(*xyz)
        tags[bytes([letter]) + b"TRC"] = curve(space)
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    head = struct.pack(">I4sI", 0, b"none", 0x04200000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    whole = head.ljust(68, b"\0") + fixed(0.9642, 1, 0.8249) + bytes(48) + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


def levels(dtype: type = np.uint8, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    most = np.iinfo(dtype).max
    values = np.random.default_rng(1).uniform(low * most, high * most, (64, 72, 3))
    return values.astype(dtype)


def test_srgb_and_what_is_like_it_is_left_alone() -> None:
    assert matrix_profile(SRGB) is None
    assert matrix_profile(b"") is None
    assert matrix_profile(SRGB[:200]) is None


@pytest.mark.parametrize("space", PRIMARIES)
def test_the_view_is_what_littlecms_shows(space: str) -> None:
    icc, values = profile_of(space), levels()
    profile = matrix_profile(icc)
    assert profile is not None
    expected = ImageCms.profileToProfile(
        Image.fromarray(values),
        ImageCms.getOpenProfile(BytesIO(icc)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    difference = np.abs(view_of(values, profile).astype(int) - np.array(expected))
    assert difference.max() <= 2  # littlecms rounds on the way
    assert difference.mean() < 0.25


@pytest.mark.parametrize("space", PRIMARIES)
def test_device_and_view_undo_each_other_inside_the_gamut(space: str) -> None:
    profile = matrix_profile(profile_of(space))
    assert profile is not None
    colours = np.random.default_rng(2).uniform(0.02, 0.98, (50, 60, 3))
    assert np.abs(profile.view(profile.device(colours)) - colours).max() < 0.002


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("space", PRIMARIES)
def test_a_cloak_is_carried_and_stays_inside_its_cap(space: str, dtype: type) -> None:
    own, profile = levels(dtype, 0.2, 0.8), matrix_profile(profile_of(space))
    view = view_of(own, profile)
    change = np.random.default_rng(3).integers(-6, 7, view.shape)
    change[:20] = 0
    cloaked = np.clip(view.astype(int) + change, 0, 255).astype(np.uint8)
    result = carry(own, view, cloaked, profile)
    assert np.array_equal(result[:20], own[:20])
    assert result.dtype == own.dtype
    seen = view_of(result, profile).astype(int) - view
    assert np.abs(seen).max() <= 6
    asked = cloaked.astype(int) - view
    inside = (view > 8).all(-1) & (view < 247).all(-1)
    inside[:20] = False
    assert inside.sum() > 500
    agreement = np.corrcoef(seen[inside].ravel(), asked[inside].ravel())[0, 1]
    assert agreement > (0.97 if dtype == np.uint8 else 0.99)


@pytest.mark.parametrize("format", ["png", "tiff", "jpeg"])
def test_a_wide_file_keeps_its_profile_and_its_own_levels(tmp_path: Path, format: str) -> None:
    icc, values = profile_of("Display P3"), levels()
    Image.fromarray(values).save(tmp_path / "art.png", icc_profile=icc)
    artwork = load_artwork(tmp_path / "art.png")
    assert artwork.levels is not None
    assert (artwork.pixels * 255 - torch.from_numpy(values).permute(2, 0, 1)).abs().max() > 5
    path = tmp_path / f"saved.{format}"
    save_artwork(artwork.pixels, artwork, path, SaveOptions(format=format, quality=100))
    with Image.open(path) as saved:
        assert saved.info["icc_profile"] == icc
        difference = np.abs(np.array(saved).astype(int) - values)
    assert difference.max() <= (0 if format != "jpeg" else 6)


def test_saved_view_tells_what_the_file_will_show(tmp_path: Path) -> None:
    Image.fromarray(levels()).save(tmp_path / "art.png", icc_profile=profile_of("Adobe RGB"))
    artwork = load_artwork(tmp_path / "art.png")
    cloaked = (artwork.pixels + 4 / 255).clamp(0, 1)
    save_artwork(cloaked, artwork, tmp_path / "saved.png")
    again = load_artwork(tmp_path / "saved.png").pixels
    assert torch.equal(again, saved_view(cloaked, artwork, "png"))
    assert not torch.equal(again, cloaked)
    assert (again - artwork.pixels).abs().max() <= 4 / 255 + 1e-6


def test_a_table_profile_is_carried_but_not_applied(tmp_path: Path) -> None:
    icc = profile_of("Display P3").replace(b"wtpt", b"A2B0")
    Image.fromarray(levels()).save(tmp_path / "art.png", icc_profile=icc)
    artwork = load_artwork(tmp_path / "art.png")
    assert artwork.levels is None
    assert artwork.icc_profile == icc


@pytest.mark.parametrize("damage", range(0, 500, 23))
def test_a_damaged_profile_costs_nobody_a_picture(tmp_path: Path, damage: int) -> None:
    icc = bytearray(profile_of("ProPhoto"))
    icc[damage : damage + 9] = b"\xff" * 9
    Image.fromarray(levels()).save(tmp_path / "art.png", icc_profile=bytes(icc))
    artwork = load_artwork(tmp_path / "art.png")
    assert torch.isfinite(artwork.pixels).all()
    save_artwork(artwork.pixels, artwork, tmp_path / "saved.png")
