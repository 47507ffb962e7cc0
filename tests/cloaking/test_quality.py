from __future__ import annotations

import pytest
import torch

from comfy_glaze.cloaking.quality import (
    flat_regions,
    local_deviation,
    luma,
    measure_quality,
    worst_places,
)
from comfy_glaze.images import LEVELS, to_grid

from ..conftest import smooth_picture

for package in ("ssimulacra2", "flip_evaluator", "skimage", "piq"):
    pytest.importorskip(package, reason=f"needs {package} (extra quality)")


def noisy(images: torch.Tensor, levels: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    change = levels / LEVELS * torch.randn(images.shape, generator=generator)
    return to_grid((images + change).clamp(0, 1))


def test_equal_pictures_are_perfect() -> None:
    picture = smooth_picture(176, 192)
    quality = measure_quality(picture, picture)
    assert quality.ssimulacra2 == pytest.approx(100)
    assert (quality.flip, quality.colour_cast) == (0, 0)
    assert quality.ms_ssim == pytest.approx(1)


def test_every_measure_falls_with_the_size_of_the_change() -> None:
    picture = smooth_picture(176, 192)
    picture[..., 96:] = 0.5  # a flat half
    small, large = (measure_quality(picture, noisy(picture, levels)) for levels in (1, 6))
    for name, sign in (("ssimulacra2", 1), ("ms_ssim", 1), ("flip", -1), ("flat_delta_e", -1)):
        assert sign * getattr(small, name) > sign * getattr(large, name)
    assert large.flat_share == pytest.approx(0.5, abs=0.05)


def test_a_cast_is_told_from_grain() -> None:
    """The same power, once in every pixel alike and once with random signs."""
    picture = 0.2 + 0.6 * smooth_picture(176, 192)
    sign = torch.randn(picture.shape, generator=torch.Generator().manual_seed(1)).sign()
    tinted = picture + torch.tensor([4.0, 0.0, -4.0]).view(1, 3, 1, 1) / LEVELS
    grainy = picture + sign * (tinted - picture)
    assert measure_quality(picture, tinted).colour_cast > 1.5
    assert measure_quality(picture, grainy).colour_cast < 0.3


def test_flat_means_an_even_neighbourhood() -> None:
    picture = torch.full((1, 3, 40, 40), 0.5)
    picture[..., 20:] = 0.6
    flat = flat_regions(picture)[0, 0]
    assert flat[:, :16].all()
    assert flat[:, 24:].all()
    assert not flat[:, 17:23].any()


def test_local_deviation_equals_the_direct_computation() -> None:
    maps = luma(smooth_picture(20, 20))
    expected = maps[0, 0, 4:13, 6:15].std(correction=0)
    assert float(local_deviation(maps, 9)[0, 0, 8, 10]) == pytest.approx(float(expected), abs=1e-6)


def test_worst_place_is_where_nothing_masks_the_change() -> None:
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 3, 96, 96, generator=generator)
    picture[..., 64:, 64:] = 0.5
    changed = (picture + 3 / LEVELS).clamp(0, 1)
    [(top, left, tall, wide)] = worst_places(picture, changed, 24)
    assert (tall, wide) == (24, 24)
    assert top >= 60
    assert left >= 60
    whole = torch.full((1, 3, 40, 50), 0.5)
    assert worst_places(whole, whole, 300) == [(0, 0, 40, 50)]


def test_a_large_picture_is_measured_at_its_worst_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comfy_glaze.cloaking.quality.WINDOW", 64)
    picture = smooth_picture(64, 200)
    changed = picture.clone()
    changed[..., 150:] = noisy(picture, 8)[..., 150:]
    quality = measure_quality(picture, changed)
    assert quality.window[1] >= 112
    assert quality.window[2:] == (64, 64)


def test_a_missing_package_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comfy_glaze.cloaking.quality.import_if_usable", lambda *_: None)
    quality = measure_quality(smooth_picture(64, 64), smooth_picture(64, 64, seed=1))
    assert (quality.ssimulacra2, quality.flip, quality.ms_ssim) == (None, None, None)
    assert (quality.flat_delta_e, quality.colour_cast) == (None, None)
