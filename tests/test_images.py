from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from comfy_glaze.images import (
    View,
    as_held,
    as_scaled_back,
    bands,
    check_images,
    enlarged,
    floats,
    from_levels,
    held_levels,
    panels_of,
    resize,
    shrink,
    to_grid,
    to_levels,
    views_of,
)


def test_grid_rounds_and_never_truncates() -> None:
    levels = torch.tensor([0.0, 0.49, 0.51, 127.5001, 254.6, 255.0])
    got = to_grid(levels.expand(1, 3, 1, 6) / 255)[0, 0, 0] * 255
    assert torch.allclose(got, torch.tensor([0.0, 0.0, 1.0, 128.0, 255.0, 255.0]), atol=1e-4)


@pytest.mark.parametrize("size", [(40, 77), (301, 20), (350, 240), (301, 203)])
def test_resize_agrees_with_pillow(size: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).random((301, 203), dtype=np.float32)
    expected = np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.LANCZOS))
    got = resize(torch.from_numpy(plane)[None, None], *size)[0, 0].numpy()
    assert np.abs(got - expected).max() < 2e-6


def test_resize_sends_gradients_to_every_pixel() -> None:
    image = torch.rand(1, 3, 50, 41, requires_grad=True)
    resize(image, 20, 17).sum().backward()
    assert image.grad is not None
    assert (image.grad > 0).all()


def test_shrink_never_enlarges() -> None:
    assert shrink(torch.rand(1, 3, 100, 60), 256).shape[-2:] == (100, 60)
    assert shrink(torch.rand(1, 3, 100, 60), 30).shape[-2:] == (50, 30)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(3, 8, 8), r"shape \(B, 3, H, W\), but got torch.float32 of shape \(3, 8, 8\)"),
        (torch.zeros(1, 4, 8, 8), r"but got torch.float32 of shape \(1, 4, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r"but got torch.uint8"),
        (torch.full((1, 3, 8, 8), 1.5), r"in \[0, 1\], but got values from 1.5 to 1.5"),
        (torch.full((1, 3, 8, 8), -0.1), r"in \[0, 1\], but got values from -0.1"),
        (torch.full((1, 3, 8, 8), float("nan")), r"in \[0, 1\], but got values from nan"),
    ],
)
def test_wrong_images_are_named(images: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_images(images)


@pytest.mark.parametrize("size", [(64, 64), (512, 512), (300, 900), (512, 2000)])
def test_small_pictures_have_one_native_view(size: tuple[int, int]) -> None:
    (view,) = views_of(*size)
    image = torch.rand(1, 3, *size)
    assert view.native
    assert torch.equal(view.of(image), image)


@pytest.mark.parametrize("size", [(513, 513), (768, 1024), (600, 2500), (1536, 1024)])
def test_views_of_a_large_picture_cover_it(size: tuple[int, int]) -> None:
    whole, *tiles = views_of(*size)
    assert not whole.native
    assert min(whole.height, whole.width) == 512
    assert whole.height / whole.width == pytest.approx(size[0] / size[1], rel=0.01)
    seen = torch.zeros(size)
    for tile in tiles:
        assert tile.native
        seen[tile.top : tile.top + 512, tile.left : tile.left + 512] += 1
        assert tile.of(torch.rand(1, 3, *size)).shape == (1, 3, 512, 512)
    assert seen.min() >= 1
    assert len(tiles) == -(-size[0] // 512) * -(-size[1] // 512)


def test_window_of_an_enlarged_picture_is_a_cut_of_the_whole() -> None:
    images = torch.rand(1, 3, 30, 40, generator=torch.Generator().manual_seed(0))
    window = View(17, 50, 33, 21, 33, 21, native=True)
    whole = resize(images, 75, 100)
    assert torch.allclose(enlarged(images, 75, 100, window), window.cut(whole), atol=1e-6)
    own = View(3, 5, 10, 20, 10, 20, native=True)
    assert torch.equal(enlarged(images, 30, 40, own), images[..., 3:13, 5:25])


def test_scaled_back_is_what_both_kernels_leave() -> None:
    images = torch.rand(1, 3, 30, 40, generator=torch.Generator().manual_seed(0))
    expected = resize(resize(images, 90, 120), 30, 40, soft=True)
    assert torch.allclose(as_scaled_back(images, 90, 120), expected, atol=1e-6)
    assert not torch.allclose(expected, images, atol=0.05)


def test_bands_cover_a_picture_once() -> None:
    seen = torch.zeros(1, 1, 300, 7)
    for band in bands(300, 7, rows=128):
        band.cut(seen).add_(1)
    assert bool((seen == 1).all())


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ((512, 512), 1),
        ((1024, 2048), 1),
        ((3000, 4000), 1),
        ((300, 900), 1),
        ((2400, 800), 2),
        ((12000, 800), 10),
        ((800, 12000), 10),
        ((1000, 30000), 20),
        ((5000, 300), 4),
    ],
)
def test_only_strips_have_several_panels(size: tuple[int, int], count: int) -> None:
    panels = panels_of(*size)
    assert len(panels) == count
    seen = torch.zeros(1, 1, *size)
    for panel in panels:
        panel.cut(seen).add_(1)
        if count > 1:
            assert panels_of(panel.height, panel.width) == [View(0, 0, *panel_size(panel))]
            assert views_of(panel.height, panel.width)[0].passes < 1.6
    assert bool((seen == 1).all())


def panel_size(panel: View) -> tuple[int, int, int, int, bool]:
    return panel.height, panel.width, panel.height, panel.width, True


def test_pictures_held_as_levels_give_the_same_images() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (300, 40, 3), np.uint8)
    held, images = held_levels(levels), from_levels(levels)
    assert held.dtype == torch.uint8
    assert torch.equal(floats(held), images)
    assert torch.equal(as_held(images, held), held)
    assert floats(images) is images
    assert np.array_equal(to_levels(held), levels)
    assert np.array_equal(to_levels(held, 16), to_levels(images, 16))
    assert torch.allclose(resize(held, 100, 13), resize(images, 100, 13), atol=1e-6)
    window = View(10, 5, 200, 30, 64, 20, native=False)
    assert torch.allclose(window.of(held), window.of(images), atol=1e-6)
