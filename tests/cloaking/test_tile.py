"""Pictures that repeat, whose edges meet."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from comfy_glaze.cloaking.budget import PRESETS, Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.cloaking.measures import Comparison
from comfy_glaze.cloaking.views import measured_views
from comfy_glaze.cloaking.visibility import cap_map, colour_map
from comfy_glaze.images import View, as_scaled_back, enlarged, resize, views_of, wrapped
from comfy_glaze.networks.encoder_files import load_encoder

from ..conftest import smooth_picture

NO_METRIC = Budget(limit=0.05, linf=8 / 255, metric="none")


def repeating(height: int, width: int, seed: int = 0) -> Tensor:
    """A smooth picture whose edges meet."""
    noise = torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(seed))
    large = F.interpolate(wrapped(noise, 2), scale_factor=(height / 6, width / 7), mode="bicubic")
    top, left = round(2 * height / 6), round(2 * width / 7)
    return large[..., top : top + height, left : left + width].clamp(0, 1)


def test_a_window_goes_on_at_the_opposite_edge() -> None:
    picture = smooth_picture(20, 30)
    window = View(15, 25, 20, 30, 20, 30, native=True)
    assert torch.equal(window.cut(picture), picture.roll((-15, -25), dims=(-2, -1)))


@pytest.mark.parametrize("size", [(48, 56), (80, 96), (200, 300)])
def test_views_of_a_picture_that_repeats_cover_its_seams(
    small_views: None, size: tuple[int, int]
) -> None:
    whole, middle, *tiles = views_of(*size, wraps=True)
    assert whole == views_of(*size)[0]
    picture = smooth_picture(*size)
    rolled = picture.roll((-(size[0] // 2), -(size[1] // 2)), dims=(-2, -1))
    assert torch.equal(middle.cut(picture), rolled)
    place = torch.arange(size[0] * size[1]).float().reshape(1, 1, *size)
    seen = torch.cat([tile.of(place).flatten() for tile in tiles]) if tiles else place.flatten()
    assert len(seen.unique()) == size[0] * size[1]
    over = [t for t in tiles if t.top + t.window_height > size[0]]
    assert bool(over) == bool(tiles)


def test_a_change_is_enlarged_across_the_edges() -> None:
    change = smooth_picture(10, 12)
    three = change.repeat(1, 1, 3, 3)
    whole = View(0, 0, 35, 54, 35, 54, native=True)
    expected = resize(three, 105, 162)[..., 35:70, 54:108]
    found = enlarged(change, 35, 54, whole, wraps=True)
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(enlarged(change, 35, 54, whole), expected, atol=0.01)
    back = resize(resize(three, 105, 162), 30, 36, soft=True)[..., 10:20, 12:24]
    assert torch.allclose(as_scaled_back(change, 35, 54, wraps=True), back, atol=1e-5)


def test_what_may_change_does_not_depend_on_where_the_picture_is_cut() -> None:
    picture, moved = repeating(60, 70), (17, 31)
    sight = PRESETS["default"].sight
    assert sight is not None
    for around in (
        lambda image: cap_map(image, 8 / 255, sight, wraps=True).float(),
        lambda image: colour_map(image, wraps=True),
    ):
        there = around(picture).roll(moved, dims=(-2, -1))
        here = around(picture.roll(moved, dims=(-2, -1)))
        differs = (there - here).abs() > 1e-3
        assert differs.float().mean() < 0.002  # float32 at a rounding's edge


@pytest.mark.parametrize("size", [(64, 64), (208, 208)])
def test_the_seam_of_a_tile_is_cloaked_as_its_middle_is(
    small_views: None, size: tuple[int, int]
) -> None:
    """Seen with its edges in the middle, it has about the shift that it has as it is."""
    encoder = load_encoder("embedded")
    picture, styled = repeating(*size), repeating(*size, seed=5)

    def shifts(tile: bool) -> tuple[float, float]:
        settings = CloakSettings(steps=16, tile=tile)
        cloak = optimize_cloak(picture, styled, encoder, NO_METRIC, settings)
        rolled = [
            one.roll((size[0] // 2, size[1] // 2), dims=(-2, -1))
            for one in (picture, styled, cloak.images)
        ]
        seams = Comparison.of(*rolled[:2], encoder, None).measure(rolled[2])[0].shift_512
        return cloak.measures[0].shift_512, seams

    (whole, seams), (_, without) = shifts(tile=True), shifts(tile=False)
    assert seams > without
    assert seams > 0.75 * whole > 0.05


def test_a_large_tile_is_brought_inside_the_limit(small_views: None) -> None:
    """The view with the edges in the middle is scaled down as that of the whole is."""
    picture, styled = repeating(80, 96), repeating(80, 96, seed=5)
    budget = Budget(limit=1e-4, linf=8 / 255, metric="st-lpips-alex")
    settings = CloakSettings(steps=4, tile=True)
    (measures,) = optimize_cloak(
        picture, styled, load_encoder("embedded"), budget, settings
    ).measures
    assert measures.perceptual is not None
    assert 0 < measures.perceptual <= 1e-4


def test_the_limit_holds_on_the_seam_too(small_views: None) -> None:
    picture = repeating(200, 300)
    views = measured_views(picture, wraps=True)
    assert views[1] == views_of(200, 300, wraps=True)[1]
    assert any(view.left + view.window_width > 300 for view in views[2:])
