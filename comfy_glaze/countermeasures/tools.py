"""What a countermeasure is, and what some of them need in addition to the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ..images import from_levels, to_levels


class CountermeasureError(ValueError):
    """A countermeasure is unknown or cannot run; the message says so in one sentence."""


@dataclass(frozen=True, eq=False)
class Tools:
    """What some countermeasures need.  All of it comes from the user's disk or from packages.

    Attributes:
        round_trip: images (B, 3, H, W) in [0, 1] through a VAE and back; see
            :func:`comfy_glaze.networks.encoder_files.load_round_trip`.
        pipeline: a Stable Diffusion image-to-image pipeline: folder, .safetensors file or hub id.
        upscaler: a Stable Diffusion ×4 upscaling pipeline: folder or hub id.
        gradient: whether the round trip is differentiable.
    """

    round_trip: Callable[[Tensor], Tensor] | None = None
    pipeline: str | None = None
    upscaler: str | None = None
    gradient: bool = True


Apply = Callable[[Tensor, float, int, Tools], Tensor]
"""A function of one image (1, 3, H, W) in [0, 1], amount, seed and tools; keeps the size."""


@dataclass(frozen=True, eq=False)
class Countermeasure:
    """One way to remove a cloak.

    Attributes:
        words: what it does, in an artist's words, for menus and tables.
        apply: changes one image; the result may leave [0, 1] a little.
        amounts: the amounts in a table of all countermeasures; the first is the default.
        unit: the amount's unit, a key of :data:`comfy_glaze.countermeasures.units.UNITS`.
        low, high: the smallest and the largest amount that is accepted.
        needs: a field of :class:`Tools` that must be set, or a package that must be installed.
        random: whether the seed matters.
        moves: whether pixels change their place, so that the styled picture must be changed, too.
        needs_gradient: whether the round trip that it needs must be differentiable.
    """

    words: str
    apply: Apply
    amounts: tuple[float, ...]
    unit: str
    low: float
    high: float
    needs: str = ""
    random: bool = False
    moves: bool = False
    needs_gradient: bool = False


def to_pillow(image: Tensor) -> Image.Image:
    """One image (1, 3, H, W) in [0, 1], rounded to 8 bits."""
    return Image.fromarray(to_levels(image))


def from_pillow(picture: Image.Image) -> Tensor:
    """An image (1, 3, H, W) in [0, 1]."""
    return from_levels(np.asarray(picture.convert("RGB")))


def times(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """A size scaled by a factor, at least one pixel."""
    width, height = (max(1, round(side * factor)) for side in size)
    return width, height


def required(tool: Any, sentence: str) -> Any:
    """Return the tool, or raise with the sentence if there is none.

    Raises:
        CountermeasureError: ``tool`` is None.
    """
    if tool is None:
        raise CountermeasureError(sentence)
    return tool
