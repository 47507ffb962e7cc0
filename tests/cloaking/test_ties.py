"""What is alike in a picture changes alike."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from comfy_glaze.cloaking.budget import Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.cloaking.ties import FREE, Ties
from comfy_glaze.images import View
from comfy_glaze.networks.encoders import Encoder

from ..conftest import smooth_picture


def blocks(down: int, across: int, top: int = 0, left: int = 0) -> Tensor:
    """Random colours in blocks, the first row and column of them cut."""
    colours = torch.randint(0, 256, (1, 3, 12, 10), generator=torch.Generator().manual_seed(5))
    whole = (colours / 255).repeat_interleave(down, -2).repeat_interleave(across, -1)
    return whole[..., top:, left:]


@pytest.mark.parametrize(
    ("down", "across", "top", "left"), [(4, 4, 0, 0), (3, 5, 2, 1), (8, 8, 5, 7), (2, 2, 1, 0)]
)
def test_the_grid_of_pixel_art_is_found(down: int, across: int, top: int, left: int) -> None:
    ties = Ties.of(blocks(down, across, top, left))
    assert ties.block == (down, across)
    assert ties.first == (-top % down, -left % across)
    assert Ties.of(blocks(down, across, top, left), with_blocks=False) == FREE


def test_other_pictures_have_no_grid() -> None:
    page = torch.ones(1, 3, 120, 120)
    page[..., 20:80, 40:100] = 0.2  # two edges each way, at multiples of twenty
    assert not Ties.of(page).has_blocks
    assert not Ties.of(torch.ones(1, 3, 64, 64)).has_blocks
    assert Ties.of(smooth_picture(64, 64)) == FREE
    almost = blocks(4, 4)
    almost[0, 1, 17, 9] += 1 / 255 if almost[0, 1, 17, 9] < 0.5 else -1 / 255
    assert not Ties.of(almost).has_blocks


def test_a_batch_has_what_all_of_it_has() -> None:
    grey = smooth_picture(32, 32)[:, :1].repeat(1, 3, 1, 1)
    assert Ties.of(grey).grey
    assert not Ties.of(torch.cat([grey, smooth_picture(32, 32)])).grey


def test_the_mean_is_the_nearest_change_that_is_alike() -> None:
    images = blocks(3, 5, 2, 1)
    change = torch.randn_like(images)
    mean = Ties.of(images).mean(change)
    assert torch.allclose(mean[..., 1:4, 4:9], change[..., 1:4, 4:9].mean((-2, -1), keepdim=True))
    assert torch.allclose(mean[..., :1, :4], change[..., :1, :4].mean((-2, -1), keepdim=True))
    least = Ties.of(images).least(change)
    assert (least[..., 1:4, 4:9] == change[..., 1:4, 4:9].amin((-2, -1), keepdim=True)).all()
    assert (least <= change).all()


def test_places_are_those_of_blocks() -> None:
    ties = Ties(False, (3, 5), (1, 4))
    rows, columns = ties.places(View(0, 3, 5, 3, 5, 3, native=True))
    assert rows.tolist() == [-1, 0, 0, 0, 1]
    assert columns.tolist() == [-1, 0, 0]


@pytest.mark.parametrize("method", ["fast", "paper"])
@pytest.mark.parametrize("limit", [0.05, 1e-3])
def test_a_cloak_leaves_alike_what_is_alike(
    block_encoder: Encoder, method: str, limit: float
) -> None:
    grey = smooth_picture(48, 64)[:, :1].repeat(1, 3, 1, 1)
    budget = Budget(limit=limit, linf=8 / 255, metric="st-lpips-alex")
    settings = CloakSettings(method, steps=4)
    cloaked = optimize_cloak(grey, 1 - grey, block_encoder, budget, settings).images
    assert (cloaked == cloaked[:, :1]).all()
    assert limit < 0.05 or not torch.equal(cloaked, grey)

    art = blocks(6, 6, 2, 0)
    cloaked = optimize_cloak(art, 1 - art, block_encoder, budget, settings).images
    assert Ties.of(cloaked).block == (6, 6)
    assert limit < 0.05 or not torch.equal(cloaked, art)


def test_pixel_art_may_change_freely(block_encoder: Encoder) -> None:
    art, budget = blocks(5, 5), Budget(limit=0.05, linf=8 / 255, metric="none")
    shifts = []
    for few_colours in ("keep", "free"):
        settings = CloakSettings(steps=6, few_colours=few_colours)
        cloak = optimize_cloak(art, 1 - art, block_encoder, budget, settings)
        shifts.append(cloak.measures[0].shift_512)
    assert 0 < shifts[0] < shifts[1]


@pytest.mark.usefixtures("small_views")
def test_large_pixel_art_changes_by_blocks_too(block_encoder: Encoder) -> None:
    art = blocks(16, 16)[..., :160, :160]  # more than two views of 64 px: δ is made on a copy
    budget = Budget(limit=0.05, linf=8 / 255, metric="none")
    cloak = optimize_cloak(art, 1 - art, block_encoder, budget, CloakSettings(steps=6))
    assert Ties.of(cloak.images).block == (16, 16)
    assert cloak.measures[0].shift_512 > 0
