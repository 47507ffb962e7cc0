"""Noise, blur and smoothing: what any picture editor can do."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from PIL import ImageFilter
from torch import Tensor

from ..images import LEVELS, resize
from .tools import Countermeasure, Tools, from_pillow, to_pillow


def gaussian_noise(image: Tensor, sigma: float, seed: int) -> Tensor:
    """The image plus white noise with standard deviation ``sigma``, in [0, 1] units."""
    generator = torch.Generator().manual_seed(seed)
    return image + sigma * torch.randn(image.shape, generator=generator).to(image)


def _noise(image: Tensor, amount: float, seed: int, tools: Tools) -> Tensor:
    return gaussian_noise(image, amount, seed)


def _blur(image: Tensor, amount: float, seed: int, tools: Tools) -> Tensor:
    from torchvision.transforms.functional import gaussian_blur

    reach = min(int(3 * amount + 0.5), min(image.shape[-2:]) - 1)
    blurred: Tensor = gaussian_blur(image, 2 * reach + 1, amount)
    return blurred


def _median(image: Tensor, amount: float, seed: int, tools: Tools) -> Tensor:
    side = 2 * (round(amount) // 2) + 1
    return from_pillow(to_pillow(image).filter(ImageFilter.MedianFilter(side)))


def _crop(image: Tensor, amount: float, seed: int, tools: Tools) -> Tensor:
    """A window at a random place, enlarged to the whole picture's size."""
    height, width = image.shape[-2:]
    tall, wide = (max(1, round(side * (1 - amount))) for side in (height, width))
    generator = torch.Generator().manual_seed(seed)
    top = int(torch.randint(height - tall + 1, (), generator=generator))
    left = int(torch.randint(width - wide + 1, (), generator=generator))
    return resize(image[..., top : top + tall, left : left + wide], height, width)


def bilateral(image: Tensor, sigma_color: float, sigma_space: float) -> Tensor:
    """Bilateral smoothing (Tomasi & Manduchi, ICCV 1998) in a disc of 2 px.

    As in OpenCV, two colours differ by the sum of their channels' absolute differences, and borders
    are mirrored.  ``sigma_color`` is in [0, 1] units, ``sigma_space`` in pixels.
    """
    height, width = image.shape[-2:]
    padded = F.pad(image, (2, 2, 2, 2), mode="reflect")
    total, weights = image.clone(), torch.ones_like(image[:, :1])
    for down in range(-2, 3):
        for right in range(-2, 3):
            square = down * down + right * right
            if not 0 < square <= 4:
                continue
            other = padded[..., 2 + down : 2 + down + height, 2 + right : 2 + right + width]
            far = (other - image).abs().sum(dim=1, keepdim=True).square() / sigma_color**2
            weight = torch.exp(-0.5 * (far + square / sigma_space**2))
            total += weight * other
            weights += weight
    return total / weights


def _adverse_cleaner(image: Tensor, amount: float, seed: int, tools: Tools) -> Tensor:
    """64 bilateral passes (5, 8, 8), then 4 guided ones (4, 16), as AdverseCleaner does."""
    from kornia.filters import guided_blur

    smooth = image
    for _ in range(round(amount)):
        smooth = bilateral(smooth, 8 / LEVELS, 8.0)
    for _ in range(4):
        smooth = guided_blur(image, smooth, 9, 16 / LEVELS**2)
    return smooth


FILTERS: dict[str, Countermeasure] = {
    "noise": Countermeasure(
        "add noise",
        _noise,
        (0.05, 0.02, 0.1, 0.15, 0.2),
        "standard deviation",
        0.001,
        1,
        random=True,
    ),
    "blur": Countermeasure("blur", _blur, (1, 2), "pixels", 0.3, 50),
    "median": Countermeasure("median filter", _median, (3,), "pixels", 3, 15),
    "crop": Countermeasure(
        "crop and enlarge", _crop, (0.1,), "part of each side", 0.01, 0.9, random=True, moves=True
    ),
    "adverse-cleaner": Countermeasure(
        "smooth (AdverseCleaner)", _adverse_cleaner, (64,), "passes", 1, 500
    ),
}
