"""What happens to a work between the artist's disk and Φ: an upload, and a trainer's loader.

See the loaders of kohya's sd-scripts and musubi-tuner (area averaging, the main row of every
table), OneTrainer (antialiased bilinear with a random offset) and ai-toolkit (bicubic).
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

Loader = Callable[[Tensor, int, random.Random], Tensor]
"""From pictures (B, 3, H, W) in [0, 1], a side and a source of chance to (B, 3, side, side)."""


def uploaded(picture: Tensor, quality: int, chroma_halved: bool = True) -> Tensor:
    """(1, 3, H, W) after a real JPEG file, 4:2:0 or 4:4:4."""
    with io.BytesIO() as file:
        to_pil_image((picture[0] * 255).round().to(torch.uint8)).save(
            file, "JPEG", quality=quality, subsampling="4:2:0" if chroma_halved else "4:4:4"
        )
        with Image.open(file) as read:
            levels: Tensor = pil_to_tensor(read.convert("RGB"))
    return levels[None].float() / 255


def area(pictures: Tensor, side: int) -> Tensor:
    """Area averaging, as OpenCV's INTER_AREA scales down."""
    return F.interpolate(pictures, size=(side, side), mode="area")


def _area(pictures: Tensor, side: int, order: random.Random) -> Tensor:
    return area(pictures, side)


def _bilinear(pictures: Tensor, side: int, order: random.Random) -> Tensor:
    """Antialiased bilinear to a little more than the side, then a crop at a random offset."""
    larger = side + side // 16
    scaled = F.interpolate(pictures, size=(larger, larger), mode="bilinear", antialias=True)
    top, left = order.randint(0, larger - side), order.randint(0, larger - side)
    return scaled[..., top : top + side, left : left + side]


def _bicubic(pictures: Tensor, side: int, order: random.Random) -> Tensor:
    scaled = F.interpolate(pictures, size=(side, side), mode="bicubic", antialias=True)
    return scaled.clamp(0, 1)


LOADERS: dict[str, Loader] = {"area": _area, "bilinear": _bilinear, "bicubic": _bicubic}
"""Loaders by name."""
