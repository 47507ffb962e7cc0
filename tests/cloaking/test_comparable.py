"""Telling a picture that shows what its original shows from one that does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from comfy_glaze.cloaking.comparable import shows_the_same
from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.images import resize, to_grid

from ..conftest import ARTWORKS


@pytest.fixture(scope="module", params=["harbour", "ink", "poster"])
def original(request: pytest.FixtureRequest) -> Tensor:
    pixels = load_artwork(ARTWORKS / f"{request.param}.png").pixels
    return to_grid(resize(pixels, 240, 320).clamp(0, 1))


def cloaked(image: Tensor) -> Tensor:
    """As far from the original as the strongest preset goes, everywhere."""
    signs = torch.randint(0, 2, image.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return to_grid((image + 11 / 255 * signs).clamp(0, 1))


def test_a_cloak_scaling_and_light_leave_it_the_same(original: Tensor) -> None:
    change = cloaked(original)
    assert shows_the_same(original, change)
    assert shows_the_same(original, resize(change, 120, 160).clamp(0, 1))
    assert shows_the_same(original, resize(change, 480, 640).clamp(0, 1))
    assert shows_the_same(original, (0.7 * change + 0.2).clamp(0, 1))


def test_a_crop_a_turn_and_another_picture_do_not(original: Tensor) -> None:
    change = cloaked(original)
    assert not shows_the_same(original, change[..., :240])
    assert not shows_the_same(original, change[..., 24:-24, 32:-32]), "of the same proportions"
    assert not shows_the_same(original, change.flip(-1))
    assert not shows_the_same(original, torch.full_like(original, 0.5))


def test_a_plain_picture_is_the_same_as_itself() -> None:
    plain = torch.full((1, 3, 64, 64), 0.5)
    assert shows_the_same(plain, plain)
