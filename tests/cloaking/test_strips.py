"""Strips, banners and panoramas, cut into panels; and pictures that are held as levels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from comfy_glaze.cloaking.budget import PRESETS, Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.cloaking.comparison import Comparison
from comfy_glaze.cloaking.methods import PANEL_STEPS, CloakStep
from comfy_glaze.cloaking.visibility import Sight
from comfy_glaze.images import as_held, floats, panels_of, to_grid
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.networks.perceptual import load_metric

from ..conftest import smooth_picture

NO_METRIC = Budget(limit=0.05, linf=8 / 255, metric="none")
SHAPES = [(900, 64), (64, 900), (1600, 80), (2000, 40)]


def watched(encoder: Encoder, sizes: list[tuple[int, int]]) -> Encoder:
    """The encoder, which notes the size of every picture that it is shown."""

    def features(images: Tensor) -> Tensor:
        sizes.append((images.shape[-2], images.shape[-1]))
        return encoder.features(images)

    return replace(encoder, features=features)


@pytest.mark.parametrize("size", SHAPES)
def test_no_view_of_a_strip_grows_with_its_length(
    block_encoder: Encoder, small_views: None, size: tuple[int, int]
) -> None:
    sizes: list[tuple[int, int]] = []
    images, styled = smooth_picture(*size), smooth_picture(*size, seed=5)
    steps: list[CloakStep] = []
    encoder = watched(block_encoder, sizes)
    cloak = optimize_cloak(images, styled, encoder, NO_METRIC, CloakSettings(), steps.append)
    assert max(height * width for height, width in sizes) < 1.7 * 64**2
    count = len(panels_of(*size))
    assert cloak.passes == len(steps) == count * PANEL_STEPS == count * cloak.settings.steps
    assert [step.step for step in steps] == list(range(1, steps[0].steps + 1))
    first_of_a_panel = [float(step.feature_distance) for step in steps[PANEL_STEPS::PANEL_STEPS]]
    assert max(first_of_a_panel) < 0.99, "what is shown goes on from panel to panel"
    assert cloak.gradients < 1.1 * PANEL_STEPS * size[0] * size[1] / 64**2
    assert cloak.measures[0].shift_512 > 0.1
    assert Comparison.of(images, styled, encoder, None).measure(cloak.images) == cloak.measures


def test_a_sliced_strip_is_cloaked_nearly_as_its_panels_would_be_alone(small_views: None) -> None:
    """In a tenth of the steps, where the cap binds and not the limit.  Of noise as here it keeps
    somewhat less than of drawn pictures, where ``docs/speed.md`` has more than that of the panel
    alone."""
    encoder, metric = load_encoder("embedded"), load_metric("st-lpips-alex")
    strip, redrawn = smooth_picture(1600, 80), smooth_picture(1600, 80, seed=5)
    budget = Budget(limit=0.1, linf=11 / 255, sight=Sight(1.4, 0.75))
    cloak = optimize_cloak(strip, redrawn, encoder, budget, CloakSettings(), metric=metric)
    for top in (100, 600):  # not where the strip itself is cut, but on the encoder's grid
        assert all(panel.top != top for panel in panels_of(1600, 80))
        panel = (..., slice(top, top + 100), slice(None))
        pictures = strip[panel], redrawn[panel]
        alone = optimize_cloak(*pictures, encoder, budget, CloakSettings(), metric=metric)
        sliced = Comparison.of(*pictures, encoder, metric).measure(cloak.images[panel])[0]
        assert sliced.shift_512 > 0.75 * alone.measures[0].shift_512 > 0


def test_empty_panels_stay_as_they_are(block_encoder: Encoder, small_views: None) -> None:
    strip, redrawn = torch.ones(1, 3, 960, 64), torch.ones(1, 3, 960, 64)
    strip[..., 480:, :] = smooth_picture(480, 64)
    redrawn[..., 480:, :] = smooth_picture(480, 64, seed=5)
    clear = torch.zeros(1, 1, 960, 64)
    clear[..., 800:, :] = 1
    settings = CloakSettings()
    cloak = optimize_cloak(strip, redrawn, block_encoder, NO_METRIC, settings, keep_clear=clear)
    assert torch.equal(cloak.images[..., :480, :], strip[..., :480, :])
    assert torch.equal(cloak.images[..., 800:, :], strip[..., 800:, :])
    assert 0 < cloak.measures[0].shift_512 < 1
    with pytest.raises(ValueError, match="must differ from the original"):
        optimize_cloak(strip, strip, block_encoder, NO_METRIC, settings)


def test_a_strip_weighs_its_panels_by_their_area(block_encoder: Encoder, small_views: None) -> None:
    """So that the shift is that of the whole strip, seen at once."""
    strip, redrawn = smooth_picture(960, 64), smooth_picture(960, 64, seed=5)
    cloaked = strip.clone()
    cloaked[..., :333, :] = (strip + 0.3 * (redrawn - strip))[..., :333, :]
    measured = Comparison.of(strip, redrawn, block_encoder, None).measure(cloaked)[0]
    before, after = (
        float((block_encoder(picture) - block_encoder(redrawn)).square().mean())
        for picture in (strip, cloaked)
    )
    assert measured.distance_before == pytest.approx(before, rel=1e-4)
    assert measured.shift_512 == pytest.approx(1 - after / before, abs=1e-4)


@pytest.mark.parametrize("size", [(64, 80), (96, 128), (200, 260), (900, 64)])
def test_levels_are_cloaked_as_the_same_images_are(
    small_views: None, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, metric = load_encoder("embedded"), load_metric("st-lpips-alex")
    images, styled = to_grid(smooth_picture(*size)), to_grid(smooth_picture(*size, seed=5))
    levels = torch.empty(0, dtype=torch.uint8)
    held = as_held(images, levels), as_held(styled, levels)
    settings, budget = CloakSettings(steps=3), PRESETS["default"]
    plain = optimize_cloak(images, styled, encoder, budget, settings, metric=metric)
    cloak = optimize_cloak(*held, encoder, budget, settings, metric=metric)
    assert cloak.images.dtype == torch.uint8
    assert torch.equal(floats(cloak.images), plain.images)
    assert cloak.measures == plain.measures
    monkeypatch.setattr("comfy_glaze.images.WHOLE", 1000)  # band by band, as if they were large
    in_bands = optimize_cloak(*held, encoder, budget, settings, metric=metric)
    assert in_bands.measures[0].shift_512 == pytest.approx(plain.measures[0].shift_512, abs=0.01)
