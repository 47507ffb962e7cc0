"""What a cloak is called, and whether what it is told to try goes farther."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
import torch

from comfy_glaze.cloaking.budget import NIGHTSHADE, PRESETS, Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.cloaking.effect import Effect
from comfy_glaze.cloaking.verdict import flat_share, judge
from comfy_glaze.files.artwork import Artwork
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.portfolio.cloaked import CloakedPicture

from ..conftest import smooth_picture


@pytest.mark.parametrize(
    ("shift", "level"),
    [(-0.2, "none"), (0.03, "none"), (0.31, "weak"), (0.59, "weak"), (0.6, "fair"), (0.75, "good")],
)
def test_a_shift_is_judged_by_what_the_small_world_showed(shift: float, level: str) -> None:
    verdict = judge(shift)
    assert verdict.level == level
    assert f"{shift:.2f} on this encoder alone" in verdict.sentence
    assert verdict.is_enough == (level in ("fair", "good"))
    assert verdict.as_json() == {
        "level": level,
        "sentence": verdict.sentence,
        "try": verdict.advice,
    }


def effect_of(value: float) -> Effect:
    return Effect(value, max(0, value - 0.1), value + 0.1, "a world", "something")


def test_an_effect_says_more_than_the_shift() -> None:
    verdict = judge(0.1, effect_of(0.62))
    assert verdict.level == "good"
    assert "62 in 100" in verdict.sentence
    assert "52 to 72" in verdict.sentence
    assert "shift" not in verdict.sentence
    levels = [judge(0.9, effect_of(value)).level for value in (0, 0.2, 0.4)]
    assert levels == ["none", "weak", "fair"]
    assert "No fewer" in judge(0.9, effect_of(0)).sentence
    lossy = judge(0.9, effect_of(0.2), lossless=0.4)
    assert lossy.advice.startswith("Try --format png")


def test_poison_needs_a_larger_shift_than_a_cloak() -> None:
    assert judge(0.69).level == "fair"
    assert judge(0.69, poison=True).level == "weak"
    assert judge(0.95, poison=True).level == "good"


def changed_by(budget: Budget, options: str) -> Budget:
    """A budget with a command's options."""
    words = options.split()
    values = dict(pairwise(words))
    budget = PRESETS[values["--preset"]] if "--preset" in values else budget
    limit, linf = values.get("--limit"), values.get("--linf")
    return budget.changed(
        float(limit) if limit else None,
        float(Fraction(linf)) if linf else None,
        "--uniform" in words,
    )


@pytest.mark.parametrize("start", [*PRESETS.values(), NIGHTSHADE, Budget(0.05, 16 / 255)])
def test_the_budget_to_try_allows_more_until_none_is_left(start: Budget) -> None:
    poison = start == NIGHTSHADE
    budget, asked = start, 0
    while "(--" in (advice := judge(0.3, budget=budget, poison=poison).advice):
        larger = changed_by(budget, advice.partition("(")[2].partition(")")[0])
        assert larger.sight is None or budget.sight is not None
        assert larger.linf is not None
        assert budget.linf is not None
        assert larger.linf >= budget.linf
        assert larger.limit >= budget.limit
        assert larger != budget
        budget, asked = larger, asked + 1
    assert 1 <= asked <= 4
    assert "No larger budget" in advice


def test_flat_colour_a_rehearsal_and_a_lossy_file_are_named() -> None:
    flat = torch.full((1, 3, 64, 80), 0.7)
    flat[..., 60:] = smooth_picture(64, 20)
    assert 0.5 < flat_share(flat) < 0.8
    assert flat_share(smooth_picture(64, 80)) < 0.1
    assert "flat colour" in judge(0.1, flat=flat_share(flat)).advice
    assert "flat colour" not in judge(0.8, flat=flat_share(flat)).advice
    rehearsal = judge(0.8, rehearsal=True)
    assert "rehearsal encoder" in rehearsal.sentence
    assert "--checkpoint" in rehearsal.advice
    foretold = judge(0.8, effect_of(0.3), rehearsal=True).sentence
    assert foretold.startswith("If a generator had this encoder, ")
    assert "30 in 100" in foretold
    assert judge(0.4, lossless=0.65).advice.startswith("Try --format png")
    assert "--format" not in judge(0.4, lossless=0.45).advice


def test_a_picture_is_judged_by_its_effect_and_poison_by_its_weaker_view(
    block_encoder: Encoder,
) -> None:
    original, styled = smooth_picture(64, 80), smooth_picture(64, 80, seed=5)
    budget = Budget(0.05, 6 / 255, metric="none")
    cloak = optimize_cloak(original, styled, block_encoder, budget, CloakSettings(steps=2))
    far = replace(cloak.measures[0], shift_512=0.8, shift_native=0.8, changed=9.0)
    picture = CloakedPicture(
        Artwork(original), original, styled, replace(cloak, measures=(far,)), None
    )
    verdict = picture.verdict(rehearsal=False)
    assert verdict is not None
    assert verdict.level == "fair"
    lost = picture.verdict(rehearsal=False, encoded=replace(far, changed=0.0))
    assert lost is not None
    assert lost.level == "none"
    assert "--format png" in lost.advice
    large = replace(picture, original=original.repeat(1, 1, 17, 13))
    named = large.verdict(rehearsal=False, encoded=replace(far, shift_native=0.2))
    assert named is not None
    assert named.level == "fair"
    assert "In crops of full size the shift is 0.20 in place of 0.80" in named.sentence
    assert "a version of at most 1024 px" in named.sentence
    strip = replace(picture, original=original.repeat(1, 1, 60, 8))
    named = strip.verdict(rehearsal=False, encoded=replace(far, shift_native=0.2))
    assert named is not None
    assert named.level == "fair"
    assert "a version of at most 512 px" in named.sentence
    poison = replace(picture, poison={"concept": "boat"})
    poisoned = poison.verdict(rehearsal=False, encoded=replace(far, shift_native=0.2))
    assert poisoned is not None
    assert poisoned.level == "none"
    other = replace(picture, cloak=replace(picture.cloak, system="fawkes"))
    assert other.verdict(rehearsal=False) is None
