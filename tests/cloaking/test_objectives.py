"""Objectives and the adapted systems, on encoders whose optimum is known or real."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from comfy_glaze.cloaking.budget import Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.cloaking.measures import feature_distance
from comfy_glaze.cloaking.objectives import OBJECTIVES
from comfy_glaze.cloaking.systems import SYSTEMS, cloak_as
from comfy_glaze.images import to_grid
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.networks.perceptual import load_metric

from ..conftest import smooth_picture

CAP = 8 / 255


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_is_one_for_the_untouched_picture(objective: str) -> None:
    generator = torch.Generator().manual_seed(0)
    own, styled = torch.randn(2, 3, 4, 5, 5, generator=generator)
    chosen = OBJECTIVES[objective]
    unit = feature_distance(own, chosen.unit(own, styled))
    values = chosen.value(feature_distance(own, chosen.goal(own, styled)) / unit)
    assert values == pytest.approx(torch.ones(3))


def test_an_objective_can_look_at_a_part_of_the_features(
    block_encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features are block means, so what an objective does not look at is left as it was."""
    coarse = replace(OBJECTIVES["towards"], looks=lambda features: features[:, :1])
    monkeypatch.setitem(OBJECTIVES, "red", coarse)
    picture = to_grid(0.3 + 0.4 * smooth_picture(32, 32))
    budget = Budget(limit=0.05, linf=CAP, metric="none")
    settings = CloakSettings(steps=30, objective="red")
    cloak = optimize_cloak(picture, 1 - picture, block_encoder, budget, settings)
    red, green, blue = (cloak.images - picture).abs().mean(dim=(0, 2, 3))
    assert red > 4 * max(green, blue)
    own, after, goal = (block_encoder(p)[:, :1] for p in (picture, cloak.images, 1 - picture))
    shift = 1 - feature_distance(after, goal) / feature_distance(own, goal)
    assert cloak.measures[0].shift_512 == pytest.approx(float(shift), rel=1e-4)


@pytest.mark.parametrize("method", ["fast", "paper"])
@pytest.mark.parametrize("objective", ["away", "to-zero"])
def test_objectives_reach_their_optimum_under_the_cap(
    objective: str, method: str, block_encoder: Encoder
) -> None:
    """Features are block means, so the best δ moves every pixel of a block by the whole cap."""
    picture = to_grid(0.3 + 0.4 * smooth_picture(32, 32))
    budget = Budget(limit=0.05, linf=CAP, metric="none")
    settings = CloakSettings(method=method, steps=60, objective=objective)
    cloak = optimize_cloak(picture, picture, block_encoder, budget, settings)
    moved = F.avg_pool2d(cloak.images - picture, 8)
    if objective == "to-zero":
        assert moved == pytest.approx(-CAP, abs=0.4 / 255)
    else:
        assert moved.abs().mean() > 0.8 * CAP
    own, after = (block_encoder(images) for images in (picture, cloak.images))
    norm = feature_distance(own, torch.zeros_like(own))
    wanted = {
        "away": feature_distance(after, own) / norm,
        "to-zero": 1 - feature_distance(after, torch.zeros_like(after)) / norm,
    }[objective]
    assert cloak.measures[0].shift_512 == pytest.approx(float(wanted), rel=1e-4)
    assert cloak.measures[0].shift_512 > 0


@pytest.mark.parametrize("system", SYSTEMS)
def test_systems_share_the_budget_and_gain_on_their_own_objective(system: str) -> None:
    picture = smooth_picture(64, 64)
    metric = load_metric("st-lpips-alex")
    cloak = cloak_as(
        system,
        picture,
        styled=1 - picture,
        stranger=smooth_picture(64, 64, seed=5),
        encoder=load_encoder("embedded"),
        budget=Budget(limit=0.02, linf=CAP, metric=metric.name),
        settings=CloakSettings(steps=12),
        metric=metric,
    )
    (measures,) = cloak.measures
    assert measures.shift_512 > 0.02
    assert (cloak.images - picture).abs().max() <= CAP + 1e-6
    assert measures.perceptual is not None
    seen = metric.distance(metric.reference(picture), cloak.images)
    assert measures.perceptual == pytest.approx(float(seen), abs=1e-5)
    if SYSTEMS[system].metric:
        assert measures.perceptual <= 0.02


def test_systems_differ() -> None:
    picture = smooth_picture(64, 64)
    metric, encoder = load_metric("st-lpips-alex"), load_encoder("embedded")
    results = [
        cloak_as(
            system,
            picture,
            styled=1 - picture,
            stranger=smooth_picture(64, 64, seed=5),
            encoder=encoder,
            budget=Budget(limit=0.003, linf=CAP, metric=metric.name),
            settings=CloakSettings(steps=6),
            metric=metric,
        ).images
        for system in SYSTEMS
    ]
    for i, one in enumerate(results):
        assert all((one != other).float().mean() > 0.05 for other in results[i + 1 :])
    with pytest.raises(ValueError, match="glaze, fawkes, lowkey, photoguard, sign-linf"):
        cloak_as(
            "mist",
            picture,
            styled=picture,
            stranger=picture,
            encoder=encoder,
            budget=Budget(limit=0.05, linf=6 / 255),
            settings=CloakSettings(),
            metric=metric,
        )
