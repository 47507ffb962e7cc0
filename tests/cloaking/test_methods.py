"""The two methods at full length on a bundled artwork; run by hand: pytest -m slow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comfy_glaze.cloaking.budget import Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.images import shrink, to_grid
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.styles.bank import builtin_styles
from comfy_glaze.styles.transfer import load_style_transfer

from ..conftest import ARTWORKS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["harbour", "poster", "ink", "pastel"])
def test_fast_reaches_what_paper_reaches(name: str) -> None:
    """At 256 px, cap 8/255, limit 0.05: at least 98% of the shift in a tenth of the gradients."""
    encoder = load_encoder("embedded")
    images = to_grid(shrink(load_artwork(ARTWORKS / f"{name}.png").pixels, 256).clamp(0, 1))
    styled = load_style_transfer("embedded")(images, builtin_styles()[21])
    budget = Budget(limit=0.05, linf=8 / 255, metric="st-lpips-alex")
    settings = CloakSettings(method="paper")
    paper = optimize_cloak(images, styled, encoder, budget, settings)
    fast = optimize_cloak(images, styled, encoder, budget, replace(settings, method="fast"))
    for method, cloak in (("paper", paper), ("fast", fast)):
        print(method, cloak.measures[0], f"{cloak.gradients:.1f} gradients {cloak.seconds:.0f} s")
    assert paper.measures[0].shift_512 >= 0.5
    assert fast.measures[0].shift_512 >= 0.98 * paper.measures[0].shift_512
    assert fast.gradients <= paper.gradients / 10
    assert fast.passes <= 20
