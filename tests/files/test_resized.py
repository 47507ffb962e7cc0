"""An artwork at another size keeps what is still true of it."""

from __future__ import annotations

import pytest
import torch

from comfy_glaze.files.artwork import Artwork
from comfy_glaze.files.exif import PHOTO, Field, read_fields, write_block
from comfy_glaze.files.resized import at_size_of
from comfy_glaze.images import same_proportions, to_grid

from ..conftest import smooth_picture


def artwork() -> Artwork:
    alpha = torch.ones(1, 1, 60, 80)
    alpha[..., :30, :] = 0
    width = Field(0xA002, 4, 1, (80).to_bytes(4, "little"))
    artist = Field(0x013B, 2, 4, b"Ada\0")
    pixels = to_grid(smooth_picture(60, 80))
    return Artwork(
        pixels,
        alpha=alpha,
        format="webp",
        exif=write_block({0: [artist], PHOTO: [width]}),
        levels=(pixels[0].movedim(0, -1).numpy() * 65535).astype("uint16"),
        icc_profile=b"wide",
        dpi=(300, 300),
    )


def test_transparency_and_the_told_size_follow_the_picture() -> None:
    small = at_size_of(artwork(), to_grid(smooth_picture(30, 40)))
    assert small.alpha is not None
    assert small.alpha.shape == (1, 1, 30, 40)
    assert small.alpha[..., :12, :].eq(0).all()
    assert small.alpha[..., 18:, :].eq(1).all()
    fields = read_fields(small.exif or b"")
    assert fields[0][0].text.startswith("Ada")
    assert [int.from_bytes(one.value, "little") for one in fields[PHOTO]] == [40]
    assert (small.levels, small.icc_profile) == (None, None), "its pixels are sRGB of 8 bits"
    assert (small.format, small.dpi) == ("webp", (300, 300))


def test_of_a_crop_the_transparency_is_unknown() -> None:
    assert at_size_of(artwork(), to_grid(smooth_picture(60, 40))).alpha is None


@pytest.mark.parametrize(
    ("size", "same"),
    [((512, 410), True), ((512, 400), False), ((1, 1), True), ((1000, 800), True)],
)
def test_proportions_are_those_of_whole_pixels(size: tuple[int, int], same: bool) -> None:
    assert same_proportions((1000, 800), size) is same
