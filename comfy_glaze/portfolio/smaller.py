"""Files that must not be larger than asked: what of a cloak stays in them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..cloaking.ties import Ties
from ..images import LEVELS, as_held, bands, floats, to_grid

_CELL = 16  # px: the squares that keep or lose their cloak
_ROWS = 16 * _CELL  # that are looked at together: a large picture's floats would fill the memory


def smallest_loss(fits: Callable[[int], bool], least: int, most: int) -> int | None:
    """The smallest loss from ``least`` to ``most`` that fits, by halving; None if none does."""
    if not fits(most):
        return None
    while least < most:
        middle = (least + most) // 2
        if fits(middle):
            most = middle
        else:
            least = middle + 1
    return most


def coarser(cloaked: Tensor, original: Tensor) -> Tensor:
    """A cloaked image (1, 3, H, W) whose changes are rounded towards none, to even grey levels.

    It has half as many different changes, which take far less room on even ground, and points
    nearly the same way.
    """
    coarse = cloaked.clone()
    for band in bands(*original.shape[-2:]):
        before = floats(band.cut(original))
        change = ((floats(band.cut(cloaked)) - before) * LEVELS).round()
        even = before + 2 * (change / 2).trunc() / LEVELS
        band.cut(coarse).copy_(as_held(to_grid(even), coarse))
    return coarse


def sparser(cloaked: Tensor, original: Tensor, share: float) -> Tensor:
    """A cloaked image (1, 3, H, W) with the original's pixels in all but a share of its squares.

    The squares that change most keep their cloak: they move the features most, and in their texture
    the cloak's grain adds least to the file.
    """
    if share >= 1:
        return cloaked
    height, width = original.shape[-2:]
    energy = torch.cat(
        [
            _changes(*(image[..., top : top + _ROWS, :] for image in (cloaked, original)))
            for top in range(0, height, _ROWS)
        ],
        dim=-2,
    )
    kept = max(1, round(share * int((energy > 0).sum())))
    order = energy.flatten().argsort(descending=True, stable=True)
    cells = torch.zeros(energy.numel(), dtype=torch.bool, device=energy.device)
    cells[order[:kept]] = True
    mask = cells.view_as(energy).repeat_interleave(_CELL, -2).repeat_interleave(_CELL, -1)
    mask = Ties.of(original).least(mask[..., :height, :width])
    return torch.where(mask, cloaked, original)


def _changes(cloaked: Tensor, original: Tensor) -> Tensor:
    """How much each square changes, (1, 1, rows, columns)."""
    change = (floats(cloaked) - floats(original)).abs().sum(dim=1, keepdim=True)
    return F.avg_pool2d(change, _CELL, ceil_mode=True, count_include_pad=False)
