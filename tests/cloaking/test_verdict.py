"""What a cloak is called, and whether what it is told to try goes farther."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
import torch

from comfy_glaze.cloaking.budget import NIGHTSHADE, PRESETS, Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
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


def test_an_effect_says_more_than_the_shift() -> None:
    verdict = judge(0.1, 0.62)
    assert verdict.level == "good"
    assert "62 in 100" in verdict.sentence
    assert "shift" not in verdict.sentence
    assert [judge(0.9, effect).level for effect in (-0.1, 0.2, 0.4)] == ["none", "weak", "fair"]


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
        assert larger.sight is None
        assert larger.linf is not None
        assert budget.linf is not None
        assert larger.linf >= budget.linf
        assert larger.limit >= budget.limit
        assert larger != budget
        budget, asked = larger, asked + 1
    assert 1 <= asked <= 3
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
    assert judge(0.4, lossless=0.65).advice.startswith("Try --format png")
    assert "--format" not in judge(0.4, lossless=0.45).advice


def test_a_picture_is_judged_by_its_weaker_view(block_encoder: Encoder) -> None:
    original, styled = smooth_picture(64, 80), smooth_picture(64, 80, seed=5)
    budget = Budget(0.05, 6 / 255, metric="none")
    cloak = optimize_cloak(original, styled, block_encoder, budget, CloakSettings(steps=2))
    far = replace(cloak.measures[0], shift_512=0.8, shift_native=0.8)
    picture = CloakedPicture(
        Artwork(original), original, styled, replace(cloak, measures=(far,)), None
    )
    verdict = picture.verdict(rehearsal=False)
    assert verdict is not None
    assert verdict.level == "good"
    cropped = picture.verdict(rehearsal=False, encoded=replace(far, shift_native=0.2))
    assert cropped is not None
    assert cropped.level == "none"
    large = replace(picture, original=original.repeat(1, 1, 17, 13))
    named = large.verdict(rehearsal=False, encoded=replace(far, shift_native=0.2))
    assert named is not None
    assert named.level == "good"
    assert "In crops of full size it is 0.20; a version of at most 1024 px" in named.sentence
    strip = replace(picture, original=original.repeat(1, 1, 60, 8))
    named = strip.verdict(rehearsal=False, encoded=replace(far, shift_native=0.2))
    assert named is not None
    assert named.level == "good"
    assert "In crops of full size it is 0.20; a version of at most 512 px" in named.sentence
    poisoned = replace(picture, poison={"concept": "boat"}).verdict(rehearsal=False)
    assert poisoned is not None
    assert poisoned.level == "fair"
    other = replace(picture, cloak=replace(picture.cloak, system="fawkes"))
    assert other.verdict(rehearsal=False) is None
