"""The budget: how much may change, held on the pixels that a file will hold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .images import LEVELS, to_grid
from .measures import Comparison


@dataclass(frozen=True, eq=False)
class Budget:
    """How much may change.

    Attributes:
        limit: p, the largest perceptual value, on the scale of ``metric``.
        linf: the largest change of a pixel value in [0, 1] units; None for no cap.
        metric: a name of :data:`comfy_glaze.perceptual.PERCEPTUAL_METRICS`, ``auto``, or ``none``
            for no perceptual limit at all.
        alpha: α of Eq. 2, relative to the feature distance divided by its initial value.
    """

    limit: float = 0.05
    linf: float | None = 6 / LEVELS
    metric: str = "auto"
    alpha: float = 20.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.limit) and self.limit > 0):
            raise ValueError(f"The perceptual limit must be above 0, but got {self.limit:g}.")
        if self.linf is not None and not 1 / LEVELS - 1e-9 <= self.linf <= 1:
            raise ValueError(
                f"The L∞ cap must lie between 1/255 (one grey level) and 1, but got {self.linf:g}."
            )
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"alpha must be 0 or more, but got {self.alpha:g}.")


PRESETS: dict[str, Budget] = {
    "gallery": Budget(limit=0.03, linf=4 / LEVELS),
    "default": Budget(limit=0.05, linf=6 / LEVELS),
    "strong": Budget(limit=0.10, linf=10 / LEVELS),
}
"""Budgets as an artist would name them: how visible, on the bundled artworks at 100%."""


def room_for(
    images: Tensor, linf: float | None, keep_clear: Tensor | None
) -> tuple[Tensor, Tensor]:
    """How far each pixel may go down and up, (B, 3, H, W) each, for images (B, 3, H, W) in [0, 1].

    Both ends lie on the 8-bit grid, so that rounding x + δ to the grid cannot leave the cap.

    Args:
        keep_clear: (B or 1, 1, H, W), above 0.5 where pixels must not change.

    Raises:
        ValueError: the mask has another shape, or leaves nothing to change.
    """
    cap = 1.0 if linf is None else linf
    tolerance = 1e-4  # of a grey level: float32 noise around exact grid values
    low = ((images - cap) * LEVELS - tolerance).ceil().clamp(0, LEVELS) / LEVELS
    high = ((images + cap) * LEVELS + tolerance).floor().clamp(0, LEVELS) / LEVELS
    below, above = low - images, high - images
    if keep_clear is not None:
        size = tuple(images.shape[-2:])
        if keep_clear.shape not in ((1, 1, *size), (len(images), 1, *size)):
            raise ValueError(
                f"keep_clear must have the shape {(len(images), 1, *size)}, "
                f"but it has {tuple(keep_clear.shape)}."
            )
        free = (keep_clear <= 0.5).to(images)
        below, above = below * free, above * free
    if not bool((above > below).flatten(1).any(dim=1).all()):
        raise ValueError("A picture needs pixels that may change, but keep_clear covers it all.")
    return below, above


def largest_inside(
    comparison: Comparison, delta: Tensor, limit: float, may_change: Tensor, halvings: int = 8
) -> Tensor:
    """x + s·δ on the 8-bit grid with the largest s ≤ 1 whose perceptual value is in the limit.

    s is found per image by bisection on the rounded pixels; s = 0, the original, always passes.

    Args:
        comparison: knows x and measures the perceptual value.
        delta: δ, (B, 3, H, W), inside the room that :func:`room_for` gave.
        limit: p, on the scale of the comparison's metric.
        may_change: (B, 3, H, W), false where pixels stay as they are, unrounded.
    """
    images = comparison.original
    limit *= 1 - 1e-3  # the same pixels measure a little differently on another device

    def cloaked_at(scale: Tensor) -> Tensor:
        return torch.where(may_change, to_grid(images + scale.view(-1, 1, 1, 1) * delta), images)

    everything = torch.ones(delta.shape[0], device=delta.device)
    cloaked = cloaked_at(everything)
    inside = comparison.perceptual(cloaked) <= limit
    if bool(inside.all()):
        return cloaked
    fits, fails = inside.to(delta), everything
    for _ in range(halvings):
        middle = torch.where(inside, fits, (fits + fails) / 2)
        passes = comparison.perceptual(cloaked_at(middle)) <= limit
        fits, fails = torch.where(passes, middle, fits), torch.where(passes, fails, middle)
    return cloaked_at(fits)
