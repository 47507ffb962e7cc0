"""How many drawings a cloak is expected to lead away, and what that is taken from."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from comfy_glaze.cloaking.budget import Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.cloaking.comparison import Comparison
from comfy_glaze.cloaking.effect import (
    UPLOAD_QUALITY,
    as_uploaded,
    calibration,
    changed_in,
    expected_effect,
    structure_changed,
)
from comfy_glaze.cloaking.views import measured_views
from comfy_glaze.files.artwork import Artwork
from comfy_glaze.images import to_levels
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.networks.ensemble import combine_encoders
from comfy_glaze.portfolio.cloaked import CloakedPicture

from ..conftest import smooth_picture


def random_features(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 4, 12, 10, generator=torch.Generator().manual_seed(seed))


def test_structure_is_what_differs_from_its_surroundings() -> None:
    before = random_features()
    assert structure_changed(before, before).tolist() == [0, 0]
    moved = before + torch.tensor([1.0, -2.0, 0.5, 3.0]).view(1, 4, 1, 1)
    assert structure_changed(before, moved).tolist() == [0, 0]  # all of it alike: a shift of mean
    assert structure_changed(before, 1.9 * before).tolist() == [0, 0]  # by less than there was
    assert structure_changed(before, 2.1 * before).tolist() == [1, 1]
    added = structure_changed(before, before + random_features(1))
    assert added == pytest.approx([0.5, 0.5], abs=0.25)  # as much noise as there was structure


def test_places_with_little_structure_are_covered_first() -> None:
    before = random_features()
    before[..., 5:] *= 0.1  # an even half
    noise = random_features(1)
    assert structure_changed(before, before + 0.4 * noise) == pytest.approx([0.5, 0.5], abs=0.15)
    assert structure_changed(before, before + 4.0 * noise).tolist() == [1, 1]
    blank = torch.zeros_like(before)
    assert structure_changed(blank, blank).tolist() == [0, 0]
    assert structure_changed(before.mean(dim=(2, 3)), 3 * before.mean(dim=(2, 3))).tolist() == [
        1,
        1,
    ]


def test_every_channel_counts_alike_and_an_empty_one_does_not_rule() -> None:
    before, change = random_features(), random_features(1)
    scale = torch.tensor([1.0, 5.0, 0.5, 1.0]).view(1, 4, 1, 1)
    changed = structure_changed(before, before + change)
    assert structure_changed(scale * before, scale * (before + change)) == pytest.approx(
        changed.tolist(), abs=0.01
    )
    empty = before.clone()
    empty[:, 0] = 0
    some = 0.01 * change
    assert structure_changed(empty, empty + some).max() < 0.1


def test_an_upload_is_a_jpeg_whatever_the_size() -> None:
    picture = smooth_picture(700, 48)  # more than one band
    file = io.BytesIO()
    levels = to_levels(picture)
    Image.fromarray(levels).save(file, "JPEG", quality=UPLOAD_QUALITY, subsampling="4:2:0")
    whole = np.asarray(Image.open(file)).astype(int)
    found = as_uploaded(picture)[0].permute(1, 2, 0).numpy().astype(int)
    apart = abs(found - whole)
    assert apart.max() <= 8  # colour is drawn out over the edge of a band
    assert apart.mean() < 0.05
    assert torch.equal(as_uploaded(picture), as_uploaded((picture * 255).round().to(torch.uint8)))


def test_more_change_makes_a_larger_fall_between_the_artists_who_fell_least_and_most() -> None:
    nothing = expected_effect(0.0)
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)
    falls = [expected_effect(change) for change in (0.05, 0.2, 0.5, 1.0, 5.0)]
    assert [fall.value for fall in falls] == sorted(fall.value for fall in falls)
    assert all(0 <= fall.low <= fall.value <= fall.high <= 1 for fall in falls)
    most = calibration().largest
    assert expected_effect(most - 0.01).value < expected_effect(most).value
    assert expected_effect(most).value == expected_effect(10 * most).value
    assert str(len(calibration().artists)) in falls[0].calibration
    assert set(falls[0].as_json()) == {"value", "low", "high", "calibration", "assumes"}


def test_the_effect_is_that_of_what_the_file_holds(block_encoder: Encoder) -> None:
    original, styled = smooth_picture(64, 80), smooth_picture(64, 80, seed=5)
    budget = Budget(0.05, 96 / 255, metric="none")
    cloak = optimize_cloak(original, styled, block_encoder, budget, CloakSettings(steps=6))
    (measures,) = cloak.measures
    (view,) = measured_views(original)
    changed = changed_in([view], original, cloak.images, block_encoder)
    assert measures.changed == pytest.approx(float(changed[0]))
    assert measures.changed > 0
    untouched = Comparison.of(original, styled, block_encoder, None).measure(original)[0]
    assert untouched.changed == 0
    picture = CloakedPicture(Artwork(original), original, styled, cloak, None)
    effect, lossy = picture.effect(), picture.effect(replace(measures, changed=0.0))
    assert effect is not None
    assert effect == expected_effect(measures.changed)
    assert lossy is not None
    assert lossy.value == 0
    assert replace(picture, poison={"concept": "boat"}).effect() is None


def test_of_several_encoders_the_least_changed_counts(block_encoder: Encoder) -> None:
    blind = replace(block_encoder, name="blind", features=lambda x: 0.5 * block_encoder.features(x))
    both = combine_encoders([block_encoder, blind], [1, 1])
    original, styled = smooth_picture(64, 80), smooth_picture(64, 80, seed=5)
    cloaked = (original + 0.1 * (styled - original)).clamp(0, 1)
    measured = Comparison.of(original, styled, both, None).measure(cloaked)[0]
    each = [member.changed for member in measured.encoders]
    assert measured.least_changed == min(each)
