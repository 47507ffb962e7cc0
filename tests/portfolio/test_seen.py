"""What a model sees: pictures through an autoencoder, as a trainer loads them, and on the sheet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.images import LEVELS, as_held, panels_of, to_levels
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.networks.ensemble import combine_encoders
from comfy_glaze.portfolio.seen import as_trained, seen_by

from ..conftest import smooth_picture
from .runs import make_pictures, run, small_engine

ORIGINAL, CLOAKED = smooth_picture(64, 80), smooth_picture(64, 80, seed=1)


def mosaic(side: int = 8, name: str = "mosaic") -> Encoder:
    """An autoencoder that keeps the mean of each block, and gives it back as a square."""
    return Encoder(
        name,
        f"{side:016x}",
        lambda images: F.avg_pool2d(images, side),
        side,
        torch.device("cpu"),
        decode=lambda features: F.interpolate(features, scale_factor=side),
    )


def squares(picture: Tensor, side: int = 8) -> Tensor:
    return F.avg_pool2d(picture, side).repeat_interleave(side, -1).repeat_interleave(side, -2)


def off(one: Tensor, other: Tensor) -> float:
    """The mean difference of two pictures, in levels."""
    return LEVELS * float((one - other).abs().mean())


def test_a_trainer_loads_a_jpeg_at_512_px() -> None:
    large = smooth_picture(1536, 1200)
    loaded = as_trained(large)
    assert loaded.shape == (1, 3, 655, 512)
    assert off(loaded, F.interpolate(large, (655, 512), mode="area")) < 3
    small = as_trained(ORIGINAL)
    assert small.shape == ORIGINAL.shape
    assert 0.1 < off(small, ORIGINAL) < 12, "a JPEG, but the same picture"


def test_areas_are_averaged() -> None:
    """Squares of one pixel are grey for whoever averages two by two, and for nobody who skips."""
    board = (torch.arange(1024)[:, None] + torch.arange(1024)) % 2
    loaded = as_trained(0.3 + 0.4 * board.expand(1, 3, -1, -1).float())
    assert float((loaded - 0.5).abs().max()) < 0.1


def test_a_picture_held_as_levels_is_the_same_and_of_a_strip_the_middle_counts() -> None:
    strip = torch.zeros(1, 3, 5400, 300)
    panels = panels_of(5400, 300)
    panels[len(panels) // 2].cut(strip).fill_(0.5)
    held = as_held(strip, torch.empty(0, dtype=torch.uint8))
    loaded = as_trained(strip)
    assert loaded.shape[-2] < 2000
    assert float((loaded - 0.5).abs().max()) < 0.02
    assert torch.equal(as_trained(held), loaded)


def test_both_pictures_come_back_as_the_decoder_makes_them() -> None:
    (seen,) = seen_by(mosaic(), ORIGINAL, CLOAKED)
    assert seen.name == "mosaic"
    assert torch.allclose(seen.original, squares(as_trained(ORIGINAL)), atol=1e-5)
    assert torch.allclose(seen.cloaked, squares(as_trained(CLOAKED)), atol=1e-5)
    (named,) = seen_by(replace(mosaic(), family="Nobody's"), ORIGINAL, CLOAKED)
    assert named.name == "Nobody's"


def test_each_of_several_encoders_has_its_own_and_one_without_a_decoder_none() -> None:
    alone = replace(mosaic(4, "half"), decode=None)
    assert seen_by(alone, ORIGINAL, CLOAKED) == []
    several = combine_encoders([mosaic(), alone, mosaic(16, "coarse")], [1, 1, 1])
    fine, coarse = seen_by(several, ORIGINAL, CLOAKED)
    assert (fine.name, coarse.name) == ("mosaic", "coarse")
    assert torch.allclose(coarse.cloaked, squares(as_trained(CLOAKED), 16), atol=1e-5)


def test_a_decoder_that_fails_shows_nothing_says_why_and_loses_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(features: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("no room")

    several = combine_encoders([replace(mosaic(), decode=full), mosaic(16, "coarse")], [1, 1])
    (seen,) = seen_by(several, ORIGINAL, CLOAKED)
    assert seen.name == "coarse"
    assert caplog.messages == ["mosaic decodes no picture here: no room"]


@pytest.mark.parametrize("decodes", [True, False])
def test_the_sheet_has_a_row_where_the_encoder_decodes(decodes: bool, tmp_path: Path) -> None:
    make_pictures(tmp_path / "art", 1)
    out = tmp_path / "out"
    engine = small_engine()
    plain = replace(mosaic(), decode=None)
    run(tmp_path / "art", out, engine=replace(engine, encoder=mosaic() if decodes else plain))
    paths = [next(folder.rglob("*.png")) for folder in (tmp_path / "art", out)]
    original, cloaked = (load_artwork(path).pixels for path in paths)
    sheet = np.asarray(Image.open(next((tmp_path / "out-reports").rglob("*.sheet.png"))))
    for picture in (original, cloaked):
        wanted = to_levels(squares(as_trained(picture)))
        assert is_in(wanted, sheet) is decodes


def is_in(picture: np.ndarray, sheet: np.ndarray) -> bool:
    """Whether a picture is a part of the sheet, up to one level."""
    height, width = picture.shape[:2]
    corner = np.abs(sheet.astype(int) - picture[0, 0]).max(axis=2) <= 1
    for top, left in np.argwhere(corner[: -height + 1, : -width + 1]):
        part = sheet[top : top + height, left : left + width].astype(int)
        if np.abs(part - picture).max() <= 1:
            return True
    return False
