"""The pixels of a PNG file, with filters or without, whichever is smaller."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from comfy_glaze.files.png_pixels import is_better_unfiltered, unfiltered
from comfy_glaze.files.writing import Carried, encode
from comfy_glaze.images import Levels


def drawing(channels: int = 1) -> Levels:
    """Black lines on white, with grain of five levels on both."""
    rng = np.random.default_rng(1)
    levels = np.full((160, 120, channels), 250, np.int16)
    levels[::16] = 5
    levels += rng.choice([-2, -1, 0, 0, 0, 0, 1, 2], (160, 120, 1))
    return levels.astype(np.uint8)


def painting() -> Levels:
    """Smooth colours with fine grain."""
    y, x = np.mgrid[:160, :120]
    colours = np.stack([x + y, 200 - x, 60 + y], axis=-1) * 0.8
    grain = np.random.default_rng(1).integers(-2, 3, colours.shape)
    return (colours + grain).clip(0, 255).astype(np.uint8)


def decoded(data: bytes) -> Levels:
    levels = np.asarray(Image.open(BytesIO(data)))
    return levels[..., None] if levels.ndim == 2 else levels


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_rows_without_filters_hold_the_same_pixels(channels: int) -> None:
    levels = drawing(channels)
    levels[3:9, 5:11] = np.arange(channels) * 40
    np.testing.assert_array_equal(decoded(unfiltered(levels)), levels)


@pytest.mark.parametrize("levels", [drawing(), drawing(3), painting()], ids=["1", "3", "painting"])
def test_the_smaller_way_is_taken(levels: Levels) -> None:
    buffer = BytesIO()
    Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels).save(buffer, "PNG")
    plain, filtered = len(unfiltered(levels)), len(buffer.getvalue())
    assert is_better_unfiltered(levels) == (plain < filtered)
    written = encode(levels, Carried(), "png", 100)
    assert len(written) == min(plain, filtered)
    np.testing.assert_array_equal(decoded(written), levels)


def test_both_ways_are_needed() -> None:
    assert is_better_unfiltered(drawing())
    assert not is_better_unfiltered(painting())


def test_the_smallest_pictures_are_written() -> None:
    levels = drawing()[:1, :1]
    np.testing.assert_array_equal(decoded(encode(levels, Carried(), "png", 100)), levels)
