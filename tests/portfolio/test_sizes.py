"""Sizes are the artist's: how files are coded, why they grow, and limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw, JpegImagePlugin

from comfy_glaze.files.formats import ArtworkError
from comfy_glaze.files.options import SaveOptions, SizeLimit
from comfy_glaze.files.writing import Carried, encode
from comfy_glaze.images import as_held, to_grid, to_levels
from comfy_glaze.portfolio import picture_file
from comfy_glaze.portfolio.smaller import coarser, sparser

from .kinds import cloak, report_of, soft


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [True, False])
def test_a_jpeg_keeps_sampling_and_progressive_coding(
    top: Path, sampling: str, progressive: bool
) -> None:
    Image.fromarray(soft()).save(
        top / "art.jpg", quality=88, subsampling=sampling, progressive=progressive
    )
    report = report_of(cloak(top, SaveOptions(keep_shift=0.0))["art.jpg"])
    with Image.open(top.parent / "out/art.jpg") as saved:
        assert JpegImagePlugin.get_sampling(saved) == ["4:4:4", "4:2:2", "4:2:0"].index(sampling)
        assert bool(saved.info.get("progressive")) is progressive
    assert (report["source"]["quality"], report["output"]["quality"]) == (88, 88)
    before, after = ((top.parent / at / "art.jpg").stat().st_size for at in ("in", "out"))
    assert (report["bytes"]["before"], report["bytes"]["after"]) == (before, after)


def test_a_jpeg_that_grows_says_why_and_what_helps(top: Path) -> None:
    picture = Image.fromarray(soft(128, 128)).resize((256, 256))
    picture.save(top / "art.jpg", quality=60, subsampling="4:2:0")
    grown = report_of(cloak(top)["art.jpg"])
    assert grown["output"]["quality"] > 60
    assert grown["bytes"]["after"] > 1.5 * grown["bytes"]["before"]
    assert "raised from 60 to" in grown["bytes"]["reason"]
    assert "--max-size 1.5x" in grown["bytes"]["reason"]
    small = report_of(cloak(top, SaveOptions(max_size=SizeLimit.parse("1.5x")))["art.jpg"])
    assert small["bytes"]["after"] <= 1.5 * small["bytes"]["before"]
    assert "the size was kept, not the cloak" in small["bytes"]["reason"]
    assert small["encoded"]["survived"] is False


@pytest.mark.parametrize(
    ("enough", "allowed", "tried"),
    [
        (60, None, [70]),
        (93, None, [70, 100, 85, 93]),
        (101, None, [70, 100]),  # what lies between keeps less than the best
        (93, 84, [70, 85]),  # too large before it keeps enough
        (101, 1000, [70, 85, 93, 97, 99, 100]),
    ],
)
def test_the_quality_rises_until_the_cloak_is_kept(
    enough: int, allowed: int | None, tried: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is as large as its quality says, and keeps the cloak from ``enough`` on."""
    found: list[int] = []

    def written(attempt: Any, pixels: Any, cloak: Any, options: SaveOptions) -> Any:
        found.append(options.real_quality)
        survived = options.real_quality >= enough
        return picture_file._Written(options, options.real_quality, (), survived)

    monkeypatch.setattr(picture_file, "_written", written)
    nothing: Any = None
    options = SaveOptions("jpeg", 70)
    last = picture_file._kept(nothing, nothing, nothing, options, allowed)
    assert found == tried
    assert last.options.real_quality == found[-1], "the file is that of the last attempt"


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_a_lossless_file_fits_with_a_part_of_the_cloak(top: Path, mode: str) -> None:
    picture = Image.new("RGB", (256, 192), (250, 240, 200))
    ImageDraw.Draw(picture).ellipse([30, 30, 120, 170], fill=(20, 30, 90))
    picture = picture.resize((255, 191)) if mode == "RGB" else picture.convert(mode)
    picture.save(top / "art.png")
    whole = report_of(cloak(top)["art.png"])
    assert "--max-size" in whole["bytes"]["reason"]
    small = report_of(cloak(top, SaveOptions(max_size=SizeLimit.parse("1.8x")))["art.png"])
    assert small["bytes"]["after"] <= 1.8 * small["bytes"]["before"] < whole["bytes"]["after"]
    assert 0 < small["shift"]["512"] < whole["shift"]["512"]
    assert "the calmer places have no cloak" in small["bytes"]["reason"]


def test_even_changes_are_part_of_a_cloak_and_take_less_room() -> None:
    original = torch.full((1, 3, 64, 96), 200 / 255)
    change = torch.randint(-5, 6, (1, 1, 64, 96), generator=torch.Generator().manual_seed(1))
    cloaked = to_grid(original + change / 255)
    coarse = coarser(cloaked, original)
    kept = ((coarse - original) * 255).round().long()
    assert torch.equal(kept[:, :1], 2 * torch.div(change, 2, rounding_mode="trunc"))
    assert torch.equal(coarse, to_grid(coarse))
    held = torch.zeros(1, dtype=torch.uint8)
    levels = [as_held(images, held) for images in (cloaked, original, coarse)]
    assert torch.equal(coarser(levels[0], levels[1]), levels[2])
    files = [encode(to_levels(x[:, :1]), Carried(), "png", 100) for x in (cloaked, coarse)]
    assert len(files[1]) < 0.85 * len(files[0])


def test_the_squares_that_change_most_keep_their_cloak() -> None:
    original = torch.zeros(1, 3, 275, 50)
    original[..., 0, 0] = 1.0  # no pixel art, which is cut along its own squares
    cloaked = original + torch.rand(original.shape, generator=torch.Generator().manual_seed(1))
    cloaked[..., 32:64, :] *= 0.01
    left = sparser(cloaked, original, 0.5)
    kept, lost = [], []
    for top in range(0, 275, 16):
        for right in range(0, 50, 16):
            square = (..., slice(top, top + 16), slice(right, right + 16))
            whole = torch.equal(left[square], cloaked[square])
            assert whole or torch.equal(left[square], original[square])
            change = (cloaked[square] - original[square]).abs().mean()
            (kept if whole else lost).append(float(change))
    assert len(kept) == len(lost) == 36
    assert min(kept) >= max(lost)


def test_of_what_fits_the_file_has_what_leads_farther(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Image.new("L", (256, 192), 240)
    ImageDraw.Draw(picture).ellipse([30, 30, 120, 170], fill=30)
    picture.save(top / "art.png")
    options = SaveOptions(max_size=SizeLimit.parse("2x"))
    best = report_of(cloak(top, options)["art.png"])
    shifts = []
    for made in (lambda cloaked, _: cloaked, coarser):
        monkeypatch.setattr(picture_file, "coarser", made)
        with monkeypatch.context() as patch:
            if made is coarser:  # the whole cloak is not offered
                patch.setattr(picture_file, "sparser", lambda c, o, s: sparser(coarser(c, o), o, s))
            shifts.append(report_of(cloak(top, options)["art.png"])["shift"]["512"])
    assert best["shift"]["512"] == pytest.approx(max(shifts))
    assert shifts[0] != pytest.approx(shifts[1])
    assert ("half as many levels" in best["bytes"]["reason"]) == (shifts[1] > shifts[0])


def test_a_size_that_no_cloak_fits_into_is_refused(top: Path) -> None:
    Image.fromarray(soft()).save(top / "art.png")
    Image.fromarray(soft()).save(top / "art.jpg", quality=90)
    for outcome in cloak(top, SaveOptions(max_size=SizeLimit.parse("300B"))).values():
        assert outcome.report is None
        assert "expected at most 300 bytes" in (outcome.error or "")
    assert not list((top.parent / "out").iterdir())


@pytest.mark.parametrize(
    ("text", "size"),
    [("900kB", 900_000), ("2MB", 2_000_000), ("1.5x", 1500), ("700", 700), (" .5 x", 500)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert SizeLimit.parse(text).of(1000) == size


@pytest.mark.parametrize("text", ["", "big", "-1kB", "0", "0x", "1.5y", "1x2"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ArtworkError):
        SizeLimit.parse(text)


def test_a_strip_says_that_its_pieces_are_better_cloaked_by_themselves(
    top: Path, small_views: None
) -> None:
    strip, page = Image.fromarray(soft(480, 64)), Image.fromarray(soft(160, 64))
    strip.save(top / "strip.png")
    page.save(top / "page.png")
    found = cloak(top)
    (sentence,) = report_of(found["strip.png"])["remarks"]
    assert "cloaked in 5 parts" in sentence
    assert "cloak the pieces" in sentence
    assert report_of(found["page.png"])["remarks"] == []
