"""Several encoders led by one cloak: they take turns, and each has its own result."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from comfy_glaze.cloaking.budget import Budget
from comfy_glaze.cloaking.cloak import Cloak, CloakSettings, optimize_cloak
from comfy_glaze.cloaking.comparison import Comparison
from comfy_glaze.cloaking.methods import METRIC_EVERY, encoder_in_turn
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.networks.ensemble import combine_encoders

from ..conftest import smooth_picture

CAP = Budget(limit=0.05, linf=8 / 255, metric="none")
IMAGES, STYLED = smooth_picture(64, 64), smooth_picture(64, 64, seed=5)


def random_encoder(seed: int, passes: list[int] | None = None) -> Encoder:
    """Random 8 × 8 filters; ``passes`` notes each picture that came with a gradient."""
    filters = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) / 14

    def features(images: Tensor) -> Tensor:
        if passes is not None and images.requires_grad:
            passes.append(seed)
        return F.conv2d(images, filters, stride=8)

    return Encoder(f"random {seed}", f"{seed:016x}", features, 8, torch.device("cpu"))


def together(*weights: float, passes: list[int] | None = None) -> Encoder:
    return combine_encoders(
        [random_encoder(seed, passes) for seed in range(len(weights))], list(weights)
    )


def cloak(encoder: Encoder, **settings: int | str) -> Cloak:
    return optimize_cloak(IMAGES, STYLED, encoder, CAP, CloakSettings(**settings))  # type: ignore[arg-type]


def shifts(made: Cloak) -> dict[str, float]:
    return {one.name: one.shift_512 for one in made.measures[0].encoders}


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_each_encoder_has_as_many_turns_with_the_metric_and_between(count: int) -> None:
    for view in range(3):
        turns = [encoder_in_turn(turn, view, count) for turn in range(2 * METRIC_EVERY * count)]
        for phase in range(METRIC_EVERY):
            assert Counter(turns[phase::METRIC_EVERY]) == dict.fromkeys(range(count), 2)
    first = {encoder_in_turn(0, view, count) for view in range(count)}
    assert len(first) == count, "not all views begin with the same one"


def test_a_step_passes_one_encoder() -> None:
    passes: list[int] = []
    made = cloak(together(1, 1, 1, passes=passes), steps=12)
    assert made.passes == len(passes) == 12
    assert Counter(passes) == {0: 4, 1: 4, 2: 4}


def test_the_papers_method_passes_all_in_each_step() -> None:
    passes: list[int] = []
    assert cloak(together(1, 1, passes=passes), steps=3, method="paper").passes == 6
    assert Counter(passes) == {0: 3, 1: 3}


@pytest.mark.parametrize("method", ["fast", "paper"])
@pytest.mark.parametrize("count", [2, 4])
def test_each_is_led_well_by_the_side_of_the_others(method: str, count: int) -> None:
    """Encoders that ask for unrelated changes: the same pixels serve all of them."""
    steps = 0 if method == "fast" else 60
    alone = cloak(random_encoder(0), method=method, steps=steps).measures[0].shift_512
    led = shifts(cloak(together(*[1] * count), method=method, steps=steps))
    assert len(led) == count
    assert min(led.values()) > (0.6 if count == 2 else 0.35) * alone > 0.05


def test_each_has_its_own_result_the_least_led_first() -> None:
    made = cloak(together(1, 1, 1), steps=6)
    (measures,) = made.measures
    own = [one.shift_512 for one in measures.encoders]
    assert own == sorted(own)
    assert (measures.shift_512, measures.shift_native) == (own[0], own[0])
    for one in measures.encoders:
        encoder = random_encoder(int(one.name.split()[1]))
        (seen,) = Comparison.of(IMAGES, STYLED, encoder, None).measure(made.images)
        assert one.fingerprint == encoder.fingerprint
        assert one.shift_512 == pytest.approx(seen.shift_512, abs=1e-6)
        assert one.distance_after == pytest.approx(seen.distance_after, rel=1e-5)
    assert measures.distance_after == measures.encoders[0].distance_after


def test_one_encoder_alone_has_no_such_list() -> None:
    assert cloak(random_encoder(0), steps=2).measures[0].encoders == ()
    assert cloak(together(1), steps=2).measures[0].encoders == ()


def test_weight_decides_who_is_led_further() -> None:
    more, less = shifts(cloak(together(5, 1))), shifts(cloak(together(1, 5)))
    assert more["random 0"] > less["random 0"]
    assert more["random 1"] < less["random 1"]


def test_image_alone_is_cloaked_as_in_a_batch() -> None:
    images, styled = smooth_picture(64, 64, batch=2), smooth_picture(64, 64, seed=5, batch=2)
    settings = CloakSettings(steps=10)
    both = optimize_cloak(images, styled, together(1, 1), CAP, settings)
    alone = optimize_cloak(images[1:], styled[1:], together(1, 1), CAP, settings)
    assert both.measures[1].shift_512 == pytest.approx(alone.measures[0].shift_512, abs=0.005)
    assert [one.name for one in both.measures[1].encoders] == list(shifts(alone))


def test_native_tiles_are_shared_out_as_well(small_views: None) -> None:
    """A cloak for both is better on both than one for the other alone, at the tiles' own size."""
    images, styled = smooth_picture(72, 96), smooth_picture(72, 96, seed=5)
    passes: list[int] = []
    made = optimize_cloak(images, styled, together(1, 1, passes=passes), CAP, CloakSettings())
    assert abs(passes.count(0) - passes.count(1)) <= 2
    for one in made.measures[0].encoders:
        number = int(one.name.split()[1])
        of_other = optimize_cloak(images, styled, random_encoder(1 - number), CAP, CloakSettings())
        comparison = Comparison.of(images, styled, random_encoder(number), None)
        (stranger,) = comparison.measure(of_other.images)
        assert one.shift_native > stranger.shift_native + 0.05
