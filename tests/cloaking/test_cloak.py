from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from comfy_glaze.cloaking.budget import PRESETS, Budget
from comfy_glaze.cloaking.cloak import Cloak, CloakSettings, optimize_cloak
from comfy_glaze.cloaking.measures import Comparison, feature_distance
from comfy_glaze.cloaking.methods import METHODS, CloakStep
from comfy_glaze.images import resize, to_grid, views_of
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.networks.perceptual import load_metric

from ..conftest import smooth_picture

NO_METRIC = Budget(limit=0.05, linf=8 / 255, metric="none")


def blocks_moved(images: Tensor, moves: Tensor) -> Tensor:
    """Add a constant to each 8 × 8 block and colour, (B, 3, H/8, W/8)."""
    return images + moves.repeat_interleave(8, 2).repeat_interleave(8, 3)


@pytest.mark.parametrize(
    ("method", "reach"),
    [
        pytest.param(method, reach, id=f"{method}-{name}")
        for method in METHODS
        for name, reach in {"inside": 0.01, "mixed": 0.06, "outside": 0.3}.items()
        if (method, name) != ("brief", "inside")  # its last step is more than half the cap
    ],
)
def test_optimum_of_a_linear_encoder_is_found(
    block_encoder: Encoder, method: str, reach: float
) -> None:
    """Rows of disjoint supports: each block moves by its target, cut off at the cap."""
    generator = torch.Generator().manual_seed(1)
    images = torch.tensor([128, 129, 127]).view(1, 3, 1, 1).expand(1, 3, 64, 64) / 255  # no grey
    moves = reach * (2 * torch.rand(1, 3, 8, 8, generator=generator) - 1)
    cloak = optimize_cloak(
        images, blocks_moved(images, moves), block_encoder, NO_METRIC, CloakSettings(method=method)
    )
    before = moves.square().mean()
    optimum = 1 - (moves.abs() - 8 / 255).clamp_min(0).square().mean() / before
    assert cloak.measures[0].shift_512 == pytest.approx(optimum.item(), rel=0.05)
    assert cloak.measures[0].shift_512 <= optimum.item() + 1e-4


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("preset", PRESETS)
def test_budget_holds_on_the_saved_pixels(method: str, preset: str) -> None:
    encoder, metric = load_encoder("embedded"), load_metric("st-lpips-alex")
    images, styled = smooth_picture(72, 96), smooth_picture(72, 96, seed=5)
    budget = replace(PRESETS[preset], metric=metric.name)
    settings = CloakSettings(method=method, steps=12)
    cloak = optimize_cloak(images, styled, encoder, budget, settings, metric=metric)
    levels = cloak.images * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    change = (levels.round() - (images * 255).round()).abs().max().item()
    assert budget.linf is not None
    assert change <= round(budget.linf * 255)
    value = metric.distance(metric.reference(images), cloak.images).item()
    assert value <= budget.limit
    measures = cloak.measures[0]
    assert measures.perceptual == pytest.approx(value, abs=1e-6)
    assert measures.linf == pytest.approx(change / 255, abs=1e-6)
    assert measures.shift_512 > 0.05


@pytest.mark.parametrize("method", METHODS)
def test_tight_perceptual_limit_binds(method: str) -> None:
    """Without a cap only the metric holds δ back: it must use the limit, and not exceed it."""
    encoder = load_encoder("embedded")
    images, styled = smooth_picture(64, 64), smooth_picture(64, 64, seed=5)
    budget = Budget(limit=0.005, linf=None, metric="st-lpips-alex")
    cloak = optimize_cloak(images, styled, encoder, budget, CloakSettings(method=method, steps=25))
    assert cloak.measures[0].perceptual is not None
    assert 0.0025 < cloak.measures[0].perceptual <= 0.005
    assert cloak.measures[0].shift_512 > 0


def test_cap_between_grey_levels_is_rounded_down(block_encoder: Encoder) -> None:
    images, styled = smooth_picture(32, 32), smooth_picture(32, 32, seed=5)
    budget = Budget(limit=0.05, linf=3.9 / 255, metric="none")
    cloak = optimize_cloak(images, styled, block_encoder, budget, CloakSettings())
    assert cloak.measures[0].linf == pytest.approx(3 / 255, abs=1e-6)


def test_pixels_off_the_grid_stay_inside_the_cap(block_encoder: Encoder) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, 3, 32, 32, generator=generator)
    budget = Budget(limit=0.05, linf=2 / 255, metric="none")
    cloak = optimize_cloak(images, 1 - images, block_encoder, budget, CloakSettings())
    assert (cloak.images - images).abs().max() <= 2 / 255 + 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_pixels_kept_clear_do_not_change(method: str) -> None:
    images, styled = smooth_picture(48, 64), smooth_picture(48, 64, seed=5)
    keep_clear = torch.zeros(1, 1, 48, 64)
    keep_clear[..., :20] = 1
    cloak = optimize_cloak(
        images,
        styled,
        load_encoder("embedded"),
        NO_METRIC,
        CloakSettings(method=method, steps=10),
        keep_clear=keep_clear,
    )
    assert torch.equal(cloak.images[..., :20], images[..., :20])
    assert (cloak.images[..., 20:] != images[..., 20:]).float().mean() > 0.5


@pytest.mark.parametrize("method", METHODS)
def test_image_alone_is_cloaked_as_in_a_batch(method: str) -> None:
    encoder, settings = load_encoder("embedded"), CloakSettings(method=method, steps=15)
    images, styled = smooth_picture(64, 64, batch=3), smooth_picture(64, 64, seed=5, batch=3)
    budget = Budget(limit=0.01, linf=8 / 255)
    together = optimize_cloak(images, styled, encoder, budget, settings)
    for i in (0, 2):
        alone = optimize_cloak(images[i : i + 1], styled[i : i + 1], encoder, budget, settings)
        shift = together.measures[i].shift_512
        assert alone.measures[0].shift_512 == pytest.approx(shift, abs=0.005)


def test_same_seed_gives_the_same_pixels() -> None:
    encoder = load_encoder("embedded")
    images, styled = smooth_picture(64, 64), smooth_picture(64, 64, seed=5)

    def pixels(seed: int) -> Tensor:
        torch.manual_seed(torch.seed())  # the global generator must not matter
        settings = CloakSettings(steps=6, seed=seed)
        return optimize_cloak(images, styled, encoder, NO_METRIC, settings).images

    assert torch.equal(pixels(1), pixels(1))
    assert not torch.equal(pixels(1), pixels(2))


@pytest.mark.parametrize("method", METHODS)
def test_steps_are_reported_and_preview_shows_the_picture(
    block_encoder: Encoder, method: str
) -> None:
    images, styled = smooth_picture(32, 40), smooth_picture(32, 40, seed=5)
    seen: list[CloakStep] = []
    previews: list[Tensor] = []

    def on_step(step: CloakStep) -> None:
        seen.append(step)
        previews.append(step.preview())

    settings = CloakSettings(method=method, steps=8)
    with torch.no_grad():  # callers may sit under no_grad, as nodes do
        optimize_cloak(images, styled, block_encoder, NO_METRIC, settings, on_step)
    assert [(step.step, step.steps) for step in seen] == [(i, 8) for i in range(1, 9)]
    distances = [step.feature_distance.item() for step in seen]
    assert distances[0] == pytest.approx(1, abs=0.05)
    assert distances[-1] < distances[0]
    assert 0 < (previews[-1] - images).abs().max() <= 8 / 255 + 1e-6


def test_exception_in_the_callback_stops_at_once(block_encoder: Encoder) -> None:
    calls = []

    def stop(step: CloakStep) -> None:
        calls.append(step.step)
        raise KeyboardInterrupt

    images, styled = smooth_picture(32, 32), smooth_picture(32, 32, seed=5)
    with pytest.raises(KeyboardInterrupt):
        optimize_cloak(images, styled, block_encoder, NO_METRIC, CloakSettings(), stop)
    assert calls == [1]


def test_large_picture_is_cloaked_on_all_its_views(
    block_encoder: Encoder, small_views: None
) -> None:
    images, styled = smooth_picture(96, 128), smooth_picture(96, 128, seed=5)
    cloak = optimize_cloak(images, styled, block_encoder, NO_METRIC, CloakSettings())
    assert cloak.measures[0].shift_512 > 0.1
    assert cloak.measures[0].shift_native > 0.1
    assert cloak.settings.steps == 32
    assert cloak.gradients == pytest.approx(16 * (64 * 85 + 64 * 64) / 64**2)


def test_measures_equal_a_fresh_comparison() -> None:
    encoder, metric = load_encoder("embedded"), load_metric("st-lpips-alex")
    images, styled = smooth_picture(64, 80), smooth_picture(64, 80, seed=5)
    cloak = optimize_cloak(images, styled, encoder, PRESETS["default"], CloakSettings(steps=5))
    assert Comparison.of(images, styled, encoder, metric).measure(cloak.images) == cloak.measures


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CloakSettings("paper", robustness="web"), "knows no robustness"),
        (lambda: Budget(limit=0, linf=None), "limit must be above 0, but got 0"),
        (lambda: Budget(limit=-1, linf=None), "limit must be above 0, but got -1"),
        (lambda: Budget(limit=float("nan"), linf=None), "limit must be above 0, but got nan"),
        (
            lambda: Budget(limit=0.05, linf=0.5 / 255),
            "cap must lie between 1/255 .* but got 0.00196",
        ),
        (lambda: Budget(limit=0.05, linf=1.5), "cap must lie between 1/255 .* but got 1.5"),
        (lambda: Budget(limit=0.05, linf=None, alpha=-1), "alpha must be 0 or more, but got -1"),
        (lambda: CloakSettings(method="magic"), "among fast, brief, paper, but got magic"),
        (lambda: CloakSettings(steps=-1), "steps must be 0 .* but got -1"),
        (
            lambda: CloakSettings(robustness="much"),
            "robustness among none, web, strong, but got much",
        ),
    ],
)
def test_wrong_settings_are_named(make: object, words: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("styled", "keep_clear", "words"),
    [
        (smooth_picture(32, 40), None, r"size of the images, \(1, 3, 32, 32\), but it has"),
        (smooth_picture(32, 32) * 2, None, r"styled must lie in \[0, 1\]"),
        (smooth_picture(32, 32), None, "must differ from the original"),
        (
            smooth_picture(32, 32, seed=1),
            torch.zeros(1, 1, 8, 8),
            r"keep_clear must have the shape",
        ),
    ],
)
def test_pictures_that_do_not_fit_are_named(
    block_encoder: Encoder, styled: Tensor, keep_clear: Tensor | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        optimize_cloak(
            smooth_picture(32, 32),
            styled,
            block_encoder,
            NO_METRIC,
            CloakSettings(),
            keep_clear=keep_clear,
        )


def test_host_under_inference_mode_can_load_and_cloak(small_views: None) -> None:
    """ComfyUI runs everything under inference mode, and hands over inference tensors."""
    with torch.inference_mode():
        images, styled = smooth_picture(72, 80), smooth_picture(72, 80, seed=5)
        assert images.is_inference()
        resized = views_of(72, 80)[0].of(images)  # fills the cache of resizing matrices
        assert resized.shape == (1, 3, 64, 71)
        encoder, metric = load_encoder("embedded"), load_metric("st-lpips-alex")
        keep_clear = torch.zeros(1, 1, 72, 80)
        cloak = optimize_cloak(
            images,
            styled,
            encoder,
            PRESETS["default"],
            CloakSettings(steps=4),
            keep_clear=keep_clear,
            metric=metric,
        )
    assert cloak.measures[0].shift_512 > 0.02
    assert not cloak.images.requires_grad


def test_report_names_the_metric_that_measured(block_encoder: Encoder) -> None:
    metric = replace(load_metric("st-lpips-alex"), name="some-metric")
    images, styled = smooth_picture(32, 32), smooth_picture(32, 32, seed=5)
    settings = CloakSettings(steps=1)
    cloak = optimize_cloak(
        images, styled, block_encoder, Budget(limit=0.05, linf=6 / 255), settings, metric=metric
    )
    assert cloak.budget.metric == "some-metric"


def test_very_large_picture_is_optimised_on_a_smaller_copy(
    block_encoder: Encoder, small_views: None
) -> None:
    """Its cost does not grow with its size, and what it gains is there at every size."""
    settings = CloakSettings(steps=16)

    def cloaked(side: int) -> Cloak:
        images = shrink_to(smooth_picture(512, 512), side)
        styled = shrink_to(smooth_picture(512, 512, seed=5), side)
        return optimize_cloak(images, styled, block_encoder, NO_METRIC, settings)

    large, medium = cloaked(512), cloaked(64)
    assert large.gradients == medium.gradients
    assert large.measures[0].linf <= 8 / 255 + 1e-6
    assert large.measures[0].shift_512 > 0.85 * medium.measures[0].shift_512
    assert (large.measures[0].tiles, large.measures[0].tiles_measured) == (64, 9)


def test_very_large_picture_is_optimised_for_soft_kernels(
    small_views: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, settings = load_encoder("embedded"), CloakSettings()
    images, styled = smooth_picture(256, 256), smooth_picture(256, 256, seed=5)

    def left_by_bilinear() -> float:
        cloak = optimize_cloak(images, styled, encoder, NO_METRIC, settings)
        own, seen, goal = (
            encoder(resize(picture, 64, 64, soft=True))
            for picture in (images, cloak.images, styled)
        )
        return 1 - float(feature_distance(seen, goal) / feature_distance(own, goal))

    left = left_by_bilinear()
    monkeypatch.setattr(
        "comfy_glaze.cloaking.problem.as_scaled_back", lambda delta, height, width, wraps: delta
    )
    assert left > 1.05 * left_by_bilinear()


def shrink_to(images: Tensor, side: int) -> Tensor:
    return to_grid(resize(images, side, side).clamp(0, 1))


def test_mask_and_cap_hold_on_a_very_large_picture(
    block_encoder: Encoder, small_views: None
) -> None:
    images, styled = smooth_picture(200, 320), smooth_picture(200, 320, seed=5)
    keep_clear = torch.zeros(1, 1, 200, 320)
    keep_clear[..., 50:61, 33:150] = 1
    budget = Budget(limit=0.05, linf=3.9 / 255, metric="none")
    cloak = optimize_cloak(
        images, styled, block_encoder, budget, CloakSettings(steps=8), keep_clear=keep_clear
    )
    clear = keep_clear.expand_as(images) > 0.5
    assert torch.equal(cloak.images[clear], images[clear])
    assert cloak.measures[0].linf == pytest.approx(3 / 255, abs=1e-6)
    assert (cloak.images[~clear] != images[~clear]).float().mean() > 0.8


@pytest.mark.parametrize("size", [(64, 64), (33, 700), (700, 33), (64, 1024)])
def test_any_size_and_proportion(
    block_encoder: Encoder, small_views: None, size: tuple[int, int]
) -> None:
    images, styled = smooth_picture(*size), smooth_picture(*size, seed=5)
    cloak = optimize_cloak(images, styled, block_encoder, NO_METRIC, CloakSettings(steps=10))
    assert cloak.images.shape == images.shape
    assert cloak.measures[0].shift_512 > 0.1


def works_in(dtype: torch.dtype, encoder: Encoder, images: Tensor) -> bool:
    """Whether Φ and its gradient are about those in float32; in bfloat16 with AMX they can be 1e19,
    or NaN."""

    def seen() -> Tensor:
        picture = images.clone().requires_grad_()
        features = encoder(picture)
        (gradient,) = torch.autograd.grad(features.square().mean(), picture)
        return torch.cat([features.detach().flatten(), gradient.flatten() * len(gradient[0, 0])])

    single = seen()
    with torch.autocast("cpu", dtype):
        half = seen()
    return bool((half - single).norm() < 0.05 * single.norm())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_reaches_the_same_shift(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a device that is faster with it; only Φ computes in it, and only while optimising."""
    encoder, settings = load_encoder("embedded"), CloakSettings(steps=6)
    images, styled = smooth_picture(64, 64), smooth_picture(64, 64, seed=5)
    single = optimize_cloak(images, styled, encoder, NO_METRIC, settings)
    if not works_in(dtype, encoder, images):
        pytest.skip(f"this processor's convolutions in {dtype} are wrong with this torch")
    monkeypatch.setattr("comfy_glaze.cloaking.methods.fast_dtype", lambda device: dtype)
    half = optimize_cloak(images, styled, encoder, NO_METRIC, settings)
    assert not torch.equal(half.images, single.images)
    shift = single.measures[0].shift_512
    assert half.measures[0].shift_512 == pytest.approx(shift, abs=0.02)


def test_overflow_in_half_precision_falls_back_to_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def features(images: Tensor) -> Tensor:
        """Blocks, through a product that overflows in float16 only."""
        pooled = F.avg_pool2d(images, 8)
        rows = pooled.permute(0, 2, 3, 1) @ (3e4 * torch.eye(3))
        return (4 * rows).permute(0, 3, 1, 2) / 1e5

    encoder = Encoder("overflows", "0" * 16, features, 8, torch.device("cpu"))
    images, styled = smooth_picture(32, 32), smooth_picture(32, 32, seed=5)
    single = optimize_cloak(images, styled, encoder, NO_METRIC, CloakSettings(steps=4))
    monkeypatch.setattr("comfy_glaze.cloaking.methods.fast_dtype", lambda device: torch.float16)
    half = optimize_cloak(images, styled, encoder, NO_METRIC, CloakSettings(steps=4))
    assert torch.equal(half.images, single.images)
    assert half.passes == 2 * single.passes


def test_small_gradients_survive_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Φ's gradient is below float16's smallest number unless the distance is scaled first."""

    def features(images: Tensor) -> Tensor:
        rows = images.permute(0, 2, 3, 1) @ (2.0**15 * torch.eye(3))
        return (rows @ (2.0**-15 * torch.eye(3))).permute(0, 3, 1, 2)

    encoder = Encoder("underflows", "0" * 16, features, 1, torch.device("cpu"))
    images, styled = smooth_picture(128, 128), smooth_picture(128, 128, seed=5)
    single = optimize_cloak(images, styled, encoder, NO_METRIC, CloakSettings(steps=4))
    monkeypatch.setattr("comfy_glaze.cloaking.methods.fast_dtype", lambda device: torch.float16)
    half = optimize_cloak(images, styled, encoder, NO_METRIC, CloakSettings(steps=4))
    assert half.passes == single.passes  # no fall back to float32
    assert half.measures[0].shift_512 > 0.95 * single.measures[0].shift_512
