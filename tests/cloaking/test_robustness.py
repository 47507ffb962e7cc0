from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from comfy_glaze.cloaking.budget import Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.cloaking.robustness import ROBUSTNESS, STEPS, Robustness, seen_by_a_mimic
from comfy_glaze.countermeasures import apply_countermeasure, parse_cases
from comfy_glaze.countermeasures.retention import measure_retention
from comfy_glaze.countermeasures.tools import Tools
from comfy_glaze.images import LEVELS
from comfy_glaze.networks.encoder_files import load_encoder

from ..conftest import smooth_picture

ONLY = {
    "jpeg": Robustness((60, 60), (1, 1), (1, 1), (1, 0, 0)),
    "scale": Robustness((60, 60), (0.5, 0.5), (1, 1), (0, 1, 0)),
    "blur": Robustness((60, 60), (1, 1), (1, 1), (0, 0, 1)),
}


@pytest.mark.parametrize("name", ONLY)
def test_each_change_has_a_gradient_and_is_like_the_real_one(name: str) -> None:
    images = smooth_picture(44, 61, batch=2).requires_grad_()
    changed = seen_by_a_mimic(images, ONLY[name], seed=0, step=1)
    assert changed.shape == images.shape
    changed.square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().flatten(1).mean(dim=1).min() > 0
    real = {
        "jpeg": ("jpeg-420", 60),
        "scale": ("resize-bicubic", 0.5),
        "blur": ("blur", 1),
    }[name]
    expected = apply_countermeasure(real[0], images.detach(), real[1])
    difference = (changed.detach() - expected).square().mean().sqrt()
    own = (images.detach() - expected).square().mean().sqrt()
    assert difference < 0.5 * own


def test_draws_depend_on_seed_and_step_alone() -> None:
    images = smooth_picture(32, 32)
    web = ROBUSTNESS["web"]
    assert web is not None
    once = [seen_by_a_mimic(images, web, 3, step) for step in range(6)]
    again = [seen_by_a_mimic(images, web, 3, step) for step in range(6)]
    other = [seen_by_a_mimic(images, web, 4, step) for step in range(6)]
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(once, other, strict=True))
    assert len({float(image.sum()) for image in once}) > 4


def test_web_survives_where_none_does_not() -> None:
    """On the embedded encoder: half of a plain cloak is gone after JPEG 75 or halving."""
    encoder = load_encoder("embedded")
    picture, styled = smooth_picture(96, 96, seed=2), smooth_picture(96, 96, seed=9)
    budget = Budget(limit=0.05, linf=8 / LEVELS, metric="none")
    settings = CloakSettings()
    cloaks = {
        level: optimize_cloak(picture, styled, encoder, budget, replace(settings, robustness=level))
        for level in ("none", "web")
    }
    assert cloaks["web"].gradients == pytest.approx(STEPS * cloaks["none"].gradients)
    cases = parse_cases("jpeg-420:75,jpeg-420:50,resize-bicubic:0.5", Tools())
    kept = {
        level: measure_retention(picture, cloak.images, styled, encoder, cases)[0]
        for level, cloak in cloaks.items()
    }
    assert max(row.retention for row in kept["none"]) < 0.6
    assert min(row.retention for row in kept["web"]) > 0.75
    assert min(row.shift for row in kept["web"]) > 1.05 * max(row.shift for row in kept["none"])


def test_unknown_robustness_is_refused() -> None:
    with pytest.raises(ValueError, match="none, web, strong, but got much"):
        CloakSettings(robustness="much")
