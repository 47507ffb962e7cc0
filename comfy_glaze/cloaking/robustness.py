"""Differentiable versions of what the web does to a picture, for optimising a robust cloak.

The method is expectation over transformation (Athalye et al., ICML 2018): each step shows Φ the
picture after one random change, so that δ comes to survive all of them.  The changes here are
approximations.  What a cloak keeps is measured with real file formats, see
:mod:`comfy_glaze.countermeasures`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import resize

Uniform = Callable[[float, float], float]
"""Draws a number between two bounds, evenly."""


@dataclass(frozen=True)
class Robustness:
    """The random changes that a cloak is made robust against.

    Attributes:
        jpeg: lowest and highest JPEG quality.
        scale: smallest and largest scale to which a picture is resized before it is resized back.
        sigma: smallest and largest standard deviation of the blur, in pixels.
        shares: how often JPEG, resizing and blurring are drawn, 0 to 1; the remaining steps see the
            picture as it is.
    """

    jpeg: tuple[float, float]
    scale: tuple[float, float]
    sigma: tuple[float, float]
    shares: tuple[float, float, float]


ROBUSTNESS: dict[str, Robustness | None] = {
    "none": None,
    "web": Robustness((40, 90), (0.35, 0.75), (0.5, 1.0), (0.5, 0.5, 0.0)),
    "strong": Robustness((10, 75), (0.25, 0.6), (0.8, 2.2), (0.35, 0.35, 0.3)),
}
"""Levels of robustness by name; ``docs/robustness.md`` has the trials that chose them."""

STEPS = 2
"""A robust cloak takes this many times as many steps as a plain one."""


def seen_by_a_mimic(images: Tensor, robustness: Robustness, seed: int, step: int) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] after one random change, the same for all; differentiable.

    Args:
        seed, step: together they decide which change is drawn.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    jpeg, scale, blur = robustness.shares
    drawn = uniform(0, 1)
    if drawn < jpeg:
        return _jpeg(images, uniform(*robustness.jpeg))
    if drawn < jpeg + scale:
        return _resized_and_back(images, uniform(*robustness.scale), uniform(0, 1) < 0.5)
    if drawn < jpeg + scale + blur:
        return _blur(images, uniform(*robustness.sigma))
    return images


def _jpeg(images: Tensor, quality: float) -> Tensor:
    """JPEG with halved chroma, with a smooth approximation of its rounding."""
    from kornia.enhance import jpeg_codec_differentiable

    coded: Tensor = jpeg_codec_differentiable(
        images.float().clamp(0, 1), torch.full((1,), quality, device=images.device)
    )
    return coded


def _resized_and_back(images: Tensor, scale: float, sharp: bool) -> Tensor:
    """Images scaled to ``scale`` and back, with antialiasing: bicubic if ``sharp``, or bilinear.

    Torch has gradients of these on the CPU and on CUDA alone.  Elsewhere, as on MPS, Lanczos takes
    the place of bicubic.
    """
    mode = "bicubic" if sharp else "bilinear"
    height, width = images.shape[-2:]
    small = (max(1, round(height * scale)), max(1, round(width * scale)))
    if images.device.type not in ("cpu", "cuda"):
        smaller = resize(images, *small, soft=not sharp)
        return resize(smaller, height, width, soft=not sharp).clamp(0, 1)
    smaller = F.interpolate(images, small, mode=mode, antialias=True)
    return F.interpolate(smaller, (height, width), mode=mode, antialias=True).clamp(0, 1)


def _blur(images: Tensor, sigma: float) -> Tensor:
    from torchvision.transforms.functional import gaussian_blur

    reach = min(int(3 * sigma + 0.5), min(images.shape[-2:]) - 1)
    blurred: Tensor = gaussian_blur(images, 2 * reach + 1, sigma)
    return blurred
