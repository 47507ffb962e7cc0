"""How visible a change is, by measures that no cloak is optimised for.

An optimiser can game the perceptual metric in its objective, so every report has these measures as
well.  They come from packages (``pip install ".[quality]"``).  The measure of a package
that is not installed, or broken, is None.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..devices import give_back_memory
from ..images import LEVELS, bands, floats, per_channel
from ..optional import import_if_usable

WINDOW = 1024
"""Pixels: larger pictures are measured only in the most visibly changed square of this side."""

FLAT_SIDE, FLAT_DEVIATION = 9, 2 / LEVELS
"""A pixel is flat if luma in the square of this side around it deviates by less than this."""

CAST_SIGMA = 8.0
"""Pixels: sigma of the blur after which a mean colour difference counts as a colour cast."""

_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Quality:
    """How visible one cloak is.

    Attributes:
        ssimulacra2: 100 for equal pictures, 90 visually lossless, 70 high, 50 medium quality.
        flip: mean of NVIDIA's FLIP at 67 pixels per degree; 0 for equal pictures.
        ms_ssim: multi-scale SSIM; 1 for equal pictures; None below 161 px.
        flat_share: the share of the picture that is flat, 0 to 1.
        flat_delta_e: 95th percentile of ΔE2000 over flat pixels; None where nothing is flat.
        colour_cast: mean ΔE2000 between the two pictures after both are blurred.
        window: (top, left, height, width) in pixels of the measured part.
        worst: (top, left, height, width) in pixels of the most visibly changed place.
    """

    ssimulacra2: float | None
    flip: float | None
    ms_ssim: float | None
    flat_share: float
    flat_delta_e: float | None
    colour_cast: float | None
    window: tuple[int, int, int, int]
    worst: tuple[int, int, int, int]


def luma(images: Tensor) -> Tensor:
    """Rec. 601 luma (B, 1, H, W) in [0, 1] of images (B, 3, H, W)."""
    return (images * per_channel(_LUMA, images.device)).sum(dim=1, keepdim=True)


def local_mean(maps: Tensor, side: int) -> Tensor:
    """The mean over a square of odd side around each pixel, (B, C, H, W); edges repeat."""
    return F.avg_pool2d(F.pad(maps, 4 * (side // 2,), mode="replicate"), side, stride=1)


def local_deviation(maps: Tensor, side: int) -> Tensor:
    """The standard deviation in a square of odd side around each pixel, (B, C, H, W)."""
    centred = maps - maps.mean(dim=(-2, -1), keepdim=True)  # float32 squares lose nothing then
    variance = local_mean(centred.square(), side) - local_mean(centred, side).square()
    return variance.clamp_min(0).sqrt()


def flat_regions(images: Tensor) -> Tensor:
    """True where the luma around a pixel hardly varies, (B, 1, H, W)."""
    return local_deviation(luma(images).double(), FLAT_SIDE) < FLAT_DEVIATION


def _visible_change(original: Tensor, cloaked: Tensor, cell: int) -> Tensor:
    """The squared change divided by the contrast around it, which masks it; the mean of each cell.

    Computed band by band, so that a large picture does not fill the memory.  Incomplete cells at
    the edges are left out.
    """
    rows = []
    height, width = original.shape[-2:]
    for band in bands(height, width, rows=16 * cell):
        above = min(band.top, FLAT_SIDE)
        part = slice(band.top - above, band.top + band.window_height + FLAT_SIDE)
        before, after = floats(original[..., part, :]), floats(cloaked[..., part, :])
        change = (after - before).square().mean(dim=1, keepdim=True)
        contrast = local_deviation(luma(before), FLAT_SIDE).square() + FLAT_DEVIATION**2
        masked = (change / contrast)[..., above : above + band.window_height, :]
        if masked.shape[-2] >= cell:
            rows.append(F.avg_pool2d(masked, cell))
    return torch.cat(rows, dim=-2)


def worst_places(original: Tensor, cloaked: Tensor, *sides: int) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width) in pixels of the most visibly changed square with each side."""
    height, width = original.shape[-2:]
    cell = min(16, height, width, *sides)
    cells, places = _visible_change(original, cloaked, cell), []
    for side in sides:
        tall, wide = min(side, height), min(side, width)
        windows = F.avg_pool2d(cells, (max(1, tall // cell), max(1, wide // cell)), stride=1)[0, 0]
        row, column = divmod(int(windows.argmax()), windows.shape[1])
        top, left = min(row * cell, height - tall), min(column * cell, width - wide)
        places.append((top, left, tall, wide))
    return places


@torch.no_grad()
def measure_quality(original: Tensor, cloaked: Tensor, crop: int = 300) -> Quality:
    """Measure one cloaked picture against its original, (1, 3, H, W) in [0, 1] or held as levels.

    Pictures with a side above :data:`WINDOW` are measured only at their worst place, at full size.
    """
    original, cloaked = original.cpu(), cloaked.cpu()
    window, worst = worst_places(original, cloaked, WINDOW, crop)
    top, left, tall, wide = window
    before, after = (
        floats(picture[..., top : top + tall, left : left + wide]).float()
        for picture in (original, cloaked)
    )
    give_back_memory()
    packages = {"ssimulacra2": _ssimulacra2, "flip": _flip, "ms_ssim": _ms_ssim}
    values = {}
    for name, measure in packages.items():
        values[name] = measure(before, after)
        give_back_memory()  # each needs hundreds of megabytes
    flat = flat_regions(before)
    difference = _delta_e(before, after)
    blurred = _delta_e(_blurred(before), _blurred(after))
    return Quality(
        **values,
        flat_share=float(flat.float().mean()),
        flat_delta_e=(
            float(np.percentile(difference[flat[0, 0].numpy()], 95))
            if difference is not None and bool(flat.any())
            else None
        ),
        colour_cast=None if blurred is None else float(blurred.mean()),
        window=window,
        worst=worst,
    )


def _blurred(image: Tensor) -> Tensor:
    from torchvision.transforms.functional import gaussian_blur

    reach = min(int(3 * CAST_SIGMA), min(image.shape[-2:]) - 1)
    blurred: Tensor = gaussian_blur(image, 2 * reach + 1, CAST_SIGMA)
    return blurred


def _module(module: str, package: str) -> Any | None:
    return import_if_usable(module, package, '"comfy-glaze[quality]"')


def _rows(image: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(1, 3, H, W) to (H, W, 3), contiguous."""
    return np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())


def _delta_e(before: Tensor, after: Tensor) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """ΔE2000 of each pixel, (H, W)."""
    color = _module("skimage.color", "scikit-image")
    if color is None:
        return None
    difference: np.ndarray[Any, Any] = color.deltaE_ciede2000(
        color.rgb2lab(_rows(before)), color.rgb2lab(_rows(after))
    )
    return difference


def _ssimulacra2(before: Tensor, after: Tensor) -> float | None:
    package = _module("ssimulacra2", "ssimulacra2")
    if package is None or min(before.shape[-2:]) < 8:
        return None
    files = []
    for image in (before, after):  # the package reads files, of which memory has the fastest
        levels = (_rows(image) * LEVELS).round().astype(np.uint8)
        files.append(io.BytesIO())
        Image.fromarray(levels).save(files[-1], "BMP")
    return float(package.compute_ssimulacra2(*files))


def _flip(before: Tensor, after: Tensor) -> float | None:
    package = _module("flip_evaluator", "flip-evaluator")
    if package is None:
        return None
    return float(package.evaluate(_rows(before), _rows(after), "LDR", applyMagma=False)[1])


def _ms_ssim(before: Tensor, after: Tensor) -> float | None:
    package = _module("piq", "piq")
    if package is None or min(before.shape[-2:]) < 161:
        return None
    return float(package.multi_scale_ssim(before, after, data_range=1.0))
