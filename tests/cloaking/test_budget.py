from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from comfy_glaze.cloaking.budget import Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.cloaking.comparison import Comparison
from comfy_glaze.cloaking.methods import CloakStep
from comfy_glaze.cloaking.room import Room, largest_inside, room_for
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.perceptual import load_metric

from ..conftest import smooth_picture


def comparison_of(images: Tensor) -> Comparison:
    metric = load_metric("st-lpips-alex")
    return Comparison.of(images, 1 - images, load_encoder("embedded"), metric)


def noise_like(images: Tensor, levels: float) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return (torch.rand(images.shape, generator=generator) - 0.5) * 2 * levels / 255


def test_delta_beyond_the_limit_is_scaled_to_use_it_up() -> None:
    images = smooth_picture(64, 64)
    comparison, delta = comparison_of(images), noise_like(images, 40)
    assert comparison.perceptual(images + delta).item() > 0.05
    cloaked, _ = largest_inside(comparison, Room(images, None, None), delta, 0.01)
    assert 0.008 < comparison.perceptual(cloaked).item() <= 0.01


def test_each_image_of_a_batch_has_a_scale_of_its_own() -> None:
    images = smooth_picture(64, 64, batch=2)
    comparison = comparison_of(images)
    delta = noise_like(images, 40)
    delta[0] /= 20
    cloaked, _ = largest_inside(comparison, Room(images, None, None), delta, 0.01)
    unscaled = ((images + delta).clamp(0, 1) * 255).round() / 255
    assert torch.allclose(cloaked[0], unscaled[0], atol=1e-6)
    assert 0.008 < comparison.perceptual(cloaked)[1].item() <= 0.01


def test_original_is_returned_where_nothing_fits() -> None:
    images = smooth_picture(64, 64)
    comparison = comparison_of(images)
    delta = noise_like(images, 200).sign()
    cloaked, _ = largest_inside(comparison, Room(images, None, None), delta, 1e-9)
    assert torch.equal(cloaked, images)


def test_room_ends_on_the_grid_and_at_the_ends_of_the_range() -> None:
    images = torch.tensor([0.0, 2.0, 100.0, 254.0]).view(1, 1, 1, 4).expand(1, 3, 1, 4) / 255
    below, above = room_for(images, 5.5 / 255, None)
    assert (below[0, 0, 0] * 255).tolist() == pytest.approx([0, -2, -5, -5], abs=1e-4)
    assert (above[0, 0, 0] * 255).tolist() == pytest.approx([5, 5, 5, 1], abs=1e-4)


def test_cap_may_differ_from_pixel_to_pixel() -> None:
    images, cap = smooth_picture(40, 48), torch.zeros(1, 1, 40, 48)
    cap[..., 10:30, 10:30] = 5.5 / 255
    room, delta = Room(images, cap, None), 0.9 * torch.ones_like(images)
    cloaked = room.cloaked_whole(delta, torch.ones(1))
    levels = ((cloaked - images) * 255).round()
    inside = (cap > 0).expand_as(images) & (images < 0.9)
    assert set(levels[inside].tolist()) == {5.0}
    assert not levels[(cap == 0).expand_as(images)].any()
    smaller, below, above = room.scaled_to(20, 24)
    assert smaller.images.shape == (1, 3, 20, 24)
    assert above[0, :, 8, 8].tolist() == pytest.approx(3 * [5 / 255], abs=1e-3)
    assert below[0, :, 1, 1].tolist() == pytest.approx(3 * [0], abs=1e-4)


def test_scaled_back_delta_keeps_its_mean_size() -> None:
    """All of δ lies at the cap: plain rounding would leave 8 levels at .95 and 7 at .93."""
    images = torch.full((1, 3, 64, 64), 128 / 255)
    delta = torch.full_like(images, 8 / 255)
    room = Room(images, 8 / 255, None)
    for scale in (0.97, 0.93, 0.6):
        levels = (room.cloaked_whole(delta, torch.tensor([scale])) - images) * 255
        assert levels.mean().item() == pytest.approx(8 * scale, abs=0.03)
        assert levels.max() <= 8 + 1e-4
    halves = [(room.cloaked_whole(delta, torch.tensor([0.9])) * 255)[..., i::2, :] for i in (0, 1)]
    assert abs(halves[0].mean() - halves[1].mean()) < 0.1


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (torch.ones(1, 1, 8, 8), "keep_clear covers it all"),
        (torch.zeros(8, 8), r"keep_clear must have the shape \(1, 1, 8, 8\), but it has \(8, 8\)"),
        (torch.zeros(2, 1, 8, 8), r"but it has \(2, 1, 8, 8\)"),
    ],
)
def test_wrong_masks_are_named(mask: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Room(torch.rand(1, 3, 8, 8), None, mask).check()


def last_perceptual(budget: Budget, settings: CloakSettings) -> float:
    """The perceptual value before δ is scaled into the limit."""
    steps: list[CloakStep] = []
    images, styled = smooth_picture(64, 64), smooth_picture(64, 64, seed=5)
    optimize_cloak(images, styled, load_encoder("embedded"), budget, settings, steps.append)
    return steps[-1].perceptual.item()


def test_hinge_of_the_paper_pulls_towards_the_limit() -> None:
    budget = Budget(limit=0.005, linf=None, metric="st-lpips-alex", alpha=0)
    settings = CloakSettings(method="paper", steps=25)
    free = last_perceptual(budget, settings)
    held = last_perceptual(replace(budget, alpha=20), settings)
    assert free > 0.01
    assert held < free / 2


def test_multiplier_of_fast_pulls_towards_the_limit() -> None:
    budget = Budget(limit=10, linf=16 / 255, metric="st-lpips-alex")
    free = last_perceptual(budget, CloakSettings(steps=25))
    held = last_perceptual(replace(budget, limit=0.002), CloakSettings(steps=25))
    assert free > 0.004
    assert held < free / 2
