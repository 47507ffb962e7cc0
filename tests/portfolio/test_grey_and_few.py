"""Grey stays grey, and few colours stay few."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comfy_glaze.cloaking.budget import PRESETS
from comfy_glaze.files.finding import find_artworks
from comfy_glaze.portfolio.manifest import Manifest
from comfy_glaze.portfolio.outputs import plan_outputs, reports_folder
from comfy_glaze.portfolio.run import cloak_portfolio

from .kinds import cartoon, cloak, report_of, soft, squares
from .runs import small_engine


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_stays_grey(top: Path, suffix: str, mode: str) -> None:
    if mode == "LA" and suffix == "jpg":
        mode = "L"
    picture = Image.fromarray(soft()).convert(mode.removesuffix("A"))
    if mode == "LA":
        picture = picture.convert("LA")
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    picture.save(top / f"art.{suffix}")
    report = report_of(cloak(top)[f"art.{suffix}"])
    with Image.open(top.parent / f"out/art.{suffix}") as saved:
        assert saved.mode == ("L" if mode == "1" else mode)
        if mode == "LA":
            assert saved.getchannel("A").tobytes() == picture.getchannel("A").tobytes()
    assert report["shift"]["512"] > 0.005


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tif"])
@pytest.mark.parametrize("levels", [4, 200])
def test_a_palette_of_greys_is_grey(top: Path, suffix: str, levels: int) -> None:
    picture = Image.fromarray(soft()).convert("L").quantize(levels)
    picture.save(top / f"art.{suffix}")
    report = report_of(cloak(top)[f"art.{'tif' if suffix == 'tif' else 'png'}"])
    with Image.open(top.parent / "out" / report["output"]["file"]) as saved:
        assert saved.mode == "L"
        change = np.asarray(saved).astype(int) - np.asarray(picture.convert("L"))
    assert 0 < np.abs(change).max() <= 6
    few = [remark for remark in report["remarks"] if f"a picture in {levels} greys" in remark]
    assert bool(few) == (levels == 4)


def test_one_colour_is_no_colours(top: Path) -> None:
    Image.new("RGB", (96, 64), (254, 250, 240)).save(top / "page.png")
    remarks = report_of(cloak(top)["page.png"])["remarks"]
    assert any(remark.startswith("It is a picture in one colour, and") for remark in remarks)


def test_grey_of_sixteen_bits_stays_grey(top: Path) -> None:
    vips = pytest.importorskip("pyvips", reason="needs pyvips (extra io)")
    values = np.random.default_rng(1).integers(0, 65536, (48, 64), dtype=np.uint16)
    vips.Image.new_from_array(values, interpretation="grey16").pngsave(str(top / "art.png"))
    report_of(cloak(top)["art.png"])
    saved = vips.Image.new_from_file(str(top.parent / "out/art.png"))
    assert (saved.bands, saved.format) == (1, "ushort")
    changed = saved.numpy().reshape(48, 64).astype(int) - values
    assert 0 < np.abs(changed).max() <= 6 * 257


def test_a_cloak_on_grey_keeps_the_room_of_a_preset(top: Path) -> None:
    Image.fromarray(soft()).convert("L").save(top / "art.png")
    engine = replace(small_engine(steps=8), budget=replace(PRESETS["strong"], metric="none"))
    reports_folder(top.parent / "out").mkdir()
    manifest = Manifest(reports_folder(top.parent / "out"))
    jobs, _ = plan_outputs(find_artworks([top]), top.parent / "out", "same", manifest)
    (outcome,) = cloak_portfolio(jobs, engine, manifest)
    assert report_of(outcome)["linf"] <= (PRESETS["strong"].linf or 1) + 1e-6
    with Image.open(top.parent / "out/art.png") as saved:
        assert saved.mode == "L"


# Few colours


def test_a_palette_stays_one(top: Path) -> None:
    cartoon().save(top / "art.png")
    report = report_of(cloak(top)["art.png"])
    with Image.open(top.parent / "out/art.png") as saved:
        assert saved.mode == "P"
        found = np.asarray(saved.convert("RGB")).astype(int)
    original = np.asarray(cartoon().convert("RGB")).astype(int)
    assert 12 < len(np.unique(found.reshape(-1, 3), axis=0)) <= 256
    assert 0 < np.abs(found - original).max() <= 6
    assert report["linf"] == pytest.approx(np.abs(found - original).max() / 255)
    assert report["shift"]["512"] > 0.005
    (sentence,) = report["remarks"]
    assert "12 colours" in sentence
    assert "--few-colours" in sentence


def test_transparent_colours_of_a_palette_stay_as_they_were(top: Path) -> None:
    picture = cartoon()
    picture.save(top / "art.png", transparency=bytes([0, 255, 128]))
    report_of(cloak(top)["art.png"])
    with Image.open(top.parent / "out/art.png") as saved:
        assert saved.mode == "P"
        found = np.asarray(saved.convert("RGBA"))
    with Image.open(top / "art.png") as source:
        before = np.asarray(source.convert("RGBA"))
    assert np.array_equal(found[..., 3], before[..., 3])
    assert np.array_equal(found[before[..., 3] == 0], before[before[..., 3] == 0])
    assert not np.array_equal(found, before)


@pytest.mark.parametrize(("size", "cut"), [(4, 0), (7, 3), (8, 5)])
def test_pixel_art_changes_by_whole_squares(top: Path, size: int, cut: int) -> None:
    squares(size, top=cut).save(top / "art.png")
    report = report_of(cloak(top)["art.png"])
    with Image.open(top.parent / "out/art.png") as saved:
        found = np.asarray(saved.convert("RGB")).astype(int)
    before = np.asarray(squares(size, top=cut).convert("RGB"))
    assert (found != before).any()
    rows = found[size - cut if cut else 0 :]
    for axis, values in ((0, rows), (1, rows)):
        first = values.take(range(0, values.shape[axis], size), axis)
        whole = first.repeat(size, axis).take(range(values.shape[axis]), axis)
        assert np.array_equal(whole, values)
    assert f"squares of {size} × {size} pixels" in report["remarks"][0]
    size = report["bytes"]
    assert size["after"] <= 4 * size["before"] or "--max-size 4x" in size["reason"]


def test_few_colours_may_be_cloaked_freely_or_left_alone(top: Path) -> None:
    cartoon().save(top / "art.png")
    squares(6).convert("RGB").save(top / "blocks.png")
    Image.fromarray(soft()).save(top / "photo.png")
    kept = {name: report_of(one)["shift"]["512"] for name, one in cloak(top).items()}
    free = {name: report_of(one) for name, one in cloak(top, few_colours="free").items()}
    assert all(free[name]["shift"]["512"] >= kept[name] - 1e-3 for name in kept)
    assert "--few-colours keep" in free["art.png"]["remarks"][0]
    (top.parent / "out").rename(top.parent / "before")
    left = cloak(top, few_colours="leave")
    assert left["photo.png"].report is not None
    for name in ("art.png", "blocks.png"):
        assert left[name].report is None
        assert left[name].error is None
        assert name in (left[name].left_alone or "")
        assert not (top.parent / "out" / name).exists()


def test_more_colours_than_leave_room_for_a_cloak_are_said(top: Path) -> None:
    Image.fromarray(soft()).quantize(200).save(top / "art.png")
    report = report_of(cloak(top)["art.png"])
    assert "200 colours" in report["remarks"][0]
    assert "in a palette" not in report["remarks"][0]
