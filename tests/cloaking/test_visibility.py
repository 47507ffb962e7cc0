from __future__ import annotations

import numpy as np
import pytest
import torch

from comfy_glaze.cloaking.budget import PRESETS, Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.cloaking.quality import flat_regions
from comfy_glaze.cloaking.visibility import (
    CAST,
    Sight,
    cap_map,
    colour_map,
    delta_e_per_level,
    less_visible,
)
from comfy_glaze.images import LEVELS, resize
from comfy_glaze.networks.encoders import Encoder

from ..conftest import smooth_picture

SIGHT = Sight(flat_delta_e=0.8, masking=0.5)


def half_flat(height: int = 96, width: int = 96) -> torch.Tensor:
    """Even grey on the left, strong grain on the right."""
    picture = torch.full((1, 3, height, width), 0.5)
    grain = torch.randn(1, 1, height, width // 2, generator=torch.Generator().manual_seed(0))
    picture[..., width // 2 :] += 0.08 * grain
    return (picture.clamp(0, 1) * LEVELS).round() / LEVELS


def test_lightness_step_agrees_with_the_library() -> None:
    color = pytest.importorskip("skimage.color", reason="needs scikit-image (extra quality)")
    levels = np.arange(4, 251, dtype=np.float64)
    greys = [np.repeat((levels + step)[:, None], 3, axis=1) / LEVELS for step in (-0.5, 0.5)]
    expected = color.deltaE_ciede2000(*(color.rgb2lab(grey) for grey in greys))
    found = delta_e_per_level(torch.from_numpy(levels / LEVELS)).numpy()
    assert found == pytest.approx(expected, rel=0.02)


def test_even_ground_gets_little_and_grain_gets_more() -> None:
    picture = half_flat()
    cap = cap_map(picture, 8 / LEVELS, SIGHT)[0, 0]
    coarse = cap_map(picture, 8 / LEVELS, SIGHT.for_coarse_changes())[0, 0]
    assert coarse[:, :40].unique().tolist() == [1]
    texture = cap_map(picture, 8 / LEVELS, Sight(0, 0.2))[..., 56:-8]
    finer = cap_map(picture, 8 / LEVELS, Sight(0, 0.4).for_coarse_changes())[..., 56:-8]
    assert torch.equal(finer, texture)
    assert torch.equal(cap, cap.round())
    assert cap[:, :40].unique().tolist() == [2]  # 0.39 ΔE a level at middle grey
    assert cap[8:-8, 56:-8].min() >= 5
    assert cap.max() <= 8
    colour = colour_map(picture)[0, 0]
    assert colour[:, :40].max() == 0
    assert colour[8:-8, 56:-8].min() == 1


def test_even_ground_near_white_changes_by_as_many_levels_as_its_sight_has() -> None:
    paper = torch.full((1, 3, 48, 48), 250 / LEVELS)
    for most in (4, 6):
        cap = cap_map(paper, 32 / LEVELS, Sight(2.1, 2.0, most))
        assert cap.unique().tolist() == [most]  # its ΔE alone would allow ten


def test_drawn_lines_hide_less_than_texture() -> None:
    grain = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    caps = [
        cap_map((0.5 + size * grain).clamp(0, 1).expand(-1, 3, -1, -1), 8 / LEVELS, SIGHT)
        for size in (0.05, 0.25)
    ]
    assert caps[1].median() <= caps[0].median() / 2


def test_ground_beside_a_line_is_as_clean_as_the_rest() -> None:
    picture = torch.full((1, 3, 64, 64), 0.9)
    picture[..., 30:34] = 0.1
    cap = cap_map(picture, 8 / LEVELS, SIGHT)[0, 0]
    assert torch.equal(cap[10:54, :28], cap[10:54, :1].expand(-1, 28))


def test_the_map_of_a_tall_picture_has_no_seams() -> None:
    """It is made band by band."""
    picture = smooth_picture(600, 48)
    banded = cap_map(picture, 20 / LEVELS, SIGHT)[..., 206:306, :]  # a seam would lie at 256
    at_once = cap_map(picture[..., 186:326, :], 20 / LEVELS, SIGHT)[..., 20:120, :]
    assert at_once.unique().numel() > 3
    difference = banded.int() - at_once.int()
    assert difference.abs().max() <= 1  # float32 at a level's edge
    assert (banded == at_once).float().mean() > 0.999


def test_casts_and_colour_on_even_ground_are_left_out() -> None:
    change = torch.ones(1, 3, 64, 64)
    change[:, 2] = -1
    colour = torch.zeros(1, 1, 64, 64)
    assert less_visible(change, colour + 1).abs().max() < 1e-6  # a cast, wherever it is
    grain = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    grey = less_visible(grain, colour)
    assert torch.equal(grey[:, 0], grey[:, 2])
    kept = less_visible(grain, colour + 1)
    assert (kept - grain).square().mean() < 4 / CAST**2
    whole, half = (less_visible(grain, colour + 1, share).mean(dim=1) for share in (1.0, 0.5))
    assert torch.allclose(half, whole / 2, atol=1e-5)
    assert torch.equal(less_visible(grain, colour, 0.5), grey)  # no colour takes its place there
    other = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    some = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    one = (less_visible(grain, some) * other).sum()
    assert float(one) == pytest.approx(float((grain * less_visible(other, some)).sum()), abs=25)


@pytest.mark.parametrize(
    ("preset", "delta_e"), [("gallery", 0.95), ("default", 1.4), ("strong", 2.1)]
)
def test_presets_change_even_ground_by_no_more_than_they_say(
    preset: str, delta_e: float, block_encoder: Encoder
) -> None:
    color = pytest.importorskip("skimage.color", reason="needs scikit-image (extra quality)")
    picture = half_flat()
    picture[:, 0] *= 0.9
    styled = resize(smooth_picture(96, 96, seed=7), 96, 96).clamp(0, 1)
    cloak = optimize_cloak(picture, styled, block_encoder, PRESETS[preset], CloakSettings())
    before, after = (
        color.rgb2lab(image[0].permute(1, 2, 0).numpy()) for image in (picture, cloak.images)
    )
    difference = color.deltaE_ciede2000(before, after)
    flat = flat_regions(picture)[0, 0].numpy()
    assert flat.mean() > 0.3
    assert np.percentile(difference[flat], 95) <= delta_e == PRESETS[preset].sight.flat_delta_e
    assert difference[~flat].mean() > 2 * difference[flat].mean()
    assert cloak.measures[0].linf > 2.5 / LEVELS
    assert cloak.measures[0].linf <= PRESETS[preset].linf + 1e-6


def test_zero_leaves_even_ground_alone(block_encoder: Encoder) -> None:
    picture = half_flat()
    styled = smooth_picture(96, 96, seed=7)
    budget = Budget(limit=0.05, linf=8 / LEVELS, sight=Sight(flat_delta_e=0, masking=1))
    cloaked = optimize_cloak(picture, styled, block_encoder, budget, CloakSettings(steps=5)).images
    assert torch.equal(cloaked[..., :40], picture[..., :40])
    assert not torch.equal(cloaked, picture)


def test_sight_refuses_what_is_below_zero() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        Sight(-1, 0.5)
