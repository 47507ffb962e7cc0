from __future__ import annotations

import weakref
from collections.abc import Callable

import pytest
import torch

from comfy_glaze.cloaking.comparison import Comparison
from comfy_glaze.cloaking.measures import feature_distance, pixel_change, worst_perceptual
from comfy_glaze.cloaking.objectives import OBJECTIVES
from comfy_glaze.cloaking.views import MEASURED_TILES, measured_views
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.networks.perceptual import PerceptualMetric, load_metric

from ..conftest import smooth_picture


def test_feature_distance_is_the_mean_square_per_image() -> None:
    a = torch.zeros(2, 4, 3, 3)
    b = torch.stack([torch.full((4, 3, 3), 0.5), torch.zeros(4, 3, 3)])
    assert feature_distance(a, b).tolist() == [0.25, 0.0]


def test_shift_runs_from_original_to_styled(block_encoder: Encoder) -> None:
    original, styled = smooth_picture(64, 64), smooth_picture(64, 64, seed=5)
    comparison = Comparison.of(original, styled, block_encoder, None)
    untouched = comparison.measure(original)[0]
    reached = comparison.measure(styled)[0]
    halfway = comparison.measure((original + styled) / 2)[0]
    assert (untouched.shift_512, untouched.shift_native, untouched.psnr) == (0, 0, None)
    assert untouched.distance_after == untouched.distance_before
    assert reached.shift_512 == 1
    assert halfway.shift_512 == pytest.approx(0.75, abs=1e-4)  # half way is a quarter of d
    assert halfway.perceptual is None


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("size", [(48, 56), (72, 128), (200, 260)])
@pytest.mark.parametrize("touched", [0, 40, 72])
def test_an_untouched_picture_has_no_shift(
    objective: str, size: tuple[int, int], touched: int, small_views: None
) -> None:
    """Also where the style changes some rows by much and the others by next to nothing."""
    original = smooth_picture(*size, batch=2)
    styled = (original + 1e-3).clamp(0, 1)
    styled[..., touched : touched + 16, :] = 1 - original[..., touched : touched + 16, :]
    comparison = Comparison.of(original, styled, load_encoder("embedded"), None, objective)
    for measures in comparison.measure(original):
        assert (measures.shift_512, measures.shift_native) == (0, 0)


def test_native_shift_is_the_tiles_summed_before_they_are_divided(
    block_encoder: Encoder, small_views: None
) -> None:
    """A tile counts as much as the style changes it; the optimiser's floor has no part in it."""
    original = 0.2 + 0.6 * smooth_picture(128, 128)
    styled = original + 0.001
    styled[..., 64:] += 0.1
    cloaked = original + 0.0005
    cloaked[..., 64:] += 0.025
    comparison = Comparison.of(original, styled, block_encoder, None)
    halves = (slice(64), slice(64, None))
    tiles = [(..., rows, columns) for rows in halves for columns in halves]
    before, after = (
        sum(
            feature_distance(block_encoder(picture[tile]), block_encoder(styled[tile]))
            for tile in tiles
        )
        for picture in (original, cloaked)
    )
    native = comparison.measure(cloaked)[0].shift_native
    assert native == pytest.approx(float(1 - after / before), abs=1e-6)
    whole, flat, *_ = (comparison.target(view) for view in comparison.views)
    assert float(flat.before) < 0.01 * float(whole.before)
    assert float(flat.unit) == pytest.approx(0.05 * float(whole.before))


def test_where_the_style_changes_no_measured_tile_the_whole_picture_counts(
    small_views: None,
) -> None:
    original = smooth_picture(72, 128)
    encoder = Encoder("corner", "0" * 16, lambda x: x[..., :1, :1], 8, torch.device("cpu"))
    styled = original.clone()
    styled[..., 1, 1] = 1 - styled[..., 1, 1]  # beside the pixel that the encoder looks at
    comparison = Comparison.of(original, styled, encoder, None)
    measures = comparison.measure((original + styled) / 2)[0]
    assert measures.shift_native == measures.shift_512
    assert measures.shift_512 > 0.5


def test_linf_and_psnr_are_per_image() -> None:
    original = torch.zeros(2, 3, 8, 8)
    cloaked = original.clone()
    cloaked[0] = 0.1
    linf, psnr = pixel_change(original, cloaked)
    assert linf == pytest.approx([0.1, 0])
    assert psnr[0] == pytest.approx(20)
    assert psnr[1] is None


def test_worst_view_counts_for_the_metric(small_views: None) -> None:
    """A change in one native tile only must not be averaged away by the others."""
    metric = load_metric("st-lpips-alex")
    original = smooth_picture(72, 128)
    cloaked = original.clone()
    cloaked[..., :16, :16] = 1 - cloaked[..., :16, :16]
    worst = worst_perceptual(original, cloaked, metric).item()
    tile = metric.distance(metric.reference(original[..., :64, :64]), cloaked[..., :64, :64])
    assert worst >= tile.item() - 1e-6
    comparison = Comparison.of(original, 1 - original, load_encoder("embedded"), metric)
    assert comparison.perceptual(cloaked).item() == pytest.approx(worst, abs=1e-6)


def test_native_shift_differs_from_the_scaled_one(small_views: None) -> None:
    """A pixel-wise checkerboard is there at native size only."""
    original = torch.full((1, 3, 128, 128), 0.5)
    styled = original.clone()
    styled[..., 1::2, :] += 0.2
    encoder = Encoder("rows", "0" * 16, lambda x: x, 8, torch.device("cpu"))
    comparison = Comparison.of(original, styled - 0.01, encoder, None)
    measured = comparison.measure(styled)[0]
    assert measured.shift_native > 0.95
    assert measured.shift_512 == pytest.approx(measured.shift_native, abs=0.05)
    cloaked = original.clone()
    cloaked[..., 1::2, :] += 0.1
    cloaked[..., ::2, :] -= 0.1
    measured = comparison.measure(cloaked)[0]
    assert measured.shift_native > 0.4
    assert measured.shift_512 < 0.1


def test_of_many_tiles_a_part_is_measured_with_the_flattest(small_views: None) -> None:
    original = smooth_picture(512, 640)
    original[..., 256:320, 448:512] = 0.5  # one even tile among eighty
    views = measured_views(original)
    assert len(views) == 1 + MEASURED_TILES
    assert len(set(views)) == len(views)
    assert any((view.top, view.left) == (256, 448) for view in views[1:])
    for half in (lambda v: v.top < 256, lambda v: v.left < 320):  # no half of it is left out
        assert 2 <= sum(half(view) for view in views[1:]) <= 7
    assert measured_views(original) == views
    assert len(measured_views(original[..., :192, :192])) == 1 + 9  # few tiles all count


def test_measuring_holds_one_view_at_a_time(small_views: None) -> None:
    """What a native tile needed is forgotten before the next one."""
    metric, encoder = load_metric("st-lpips-alex"), load_encoder("embedded")
    living: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def reference(images: torch.Tensor) -> list[torch.Tensor]:
        nonlocal most
        features = metric.reference(images)
        living.append(weakref.ref(features[0]))
        most = max(most, sum(ref() is not None for ref in living))
        return features

    watched = WatchedMetric(metric.name, metric.trunk, metric.weights)
    watched.watch(reference)
    original, styled = smooth_picture(192, 192), smooth_picture(192, 192, seed=5)
    comparison = Comparison.of(original, styled, encoder, watched)
    comparison.measure((original + styled) / 2)
    assert len(living) == 10
    assert most <= 3  # the whole picture's, which is kept, a tile's, and the next one's


class WatchedMetric(PerceptualMetric):
    def watch(self, reference: Callable[[torch.Tensor], list[torch.Tensor]]) -> None:
        object.__setattr__(self, "reference", reference)
