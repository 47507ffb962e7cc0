"""Resampling of one axis with antialiasing: Lanczos, or the softer bilinear kernel.

Both agree with Pillow's on floats, are linear and differentiable, and need no more of a device than
a matrix product.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


def matrix_of(
    size_in: int, size_out: int, device: torch.device, soft: bool = False, wraps: bool = False
) -> Tensor:
    """The resampling of one axis as a matrix (size_out, size_in), each row summing to 1.

    Where it ``wraps``, the axis goes on at its other end.

    Between calls only the non-zero entries are kept, because a large picture's matrices are 50 MB
    each.
    """
    places, weights = _taps(size_in, size_out, device, soft, wraps)
    return weights.new_zeros(size_out, size_in).scatter_add_(1, places, weights)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is cached must serve later calls that need gradients
def _taps(
    size_in: int, size_out: int, device: torch.device, soft: bool, wraps: bool
) -> tuple[Tensor, Tensor]:
    """Which pixels of an axis make up each new one, and their weights, (size_out, taps) each."""
    scale = size_in / size_out
    width = max(scale, 1.0)  # when shrinking, the kernel widens: this is the antialiasing
    reach = math.ceil((1 if soft else 3) * width)
    centre = (torch.arange(size_out, dtype=torch.float64) + 0.5) * scale
    taps = 2 * reach + 1 if wraps else min(2 * reach + 1, size_in)
    first = centre.long() - reach
    if not wraps:
        first = first.clamp(0, size_in - taps)
    places = first[:, None] + torch.arange(taps)
    offset = (places + 0.5 - centre[:, None]) / width
    if soft:
        kernel = (1 - offset.abs()).clamp_min(0)
    else:
        kernel = torch.where(offset.abs() < 3, torch.sinc(offset) * torch.sinc(offset / 3), 0.0)
    weights = (kernel / kernel.sum(dim=1, keepdim=True)).float()
    return (places % size_in).to(device), weights.to(device)


_BLOCK = 64
"""New pixels of an axis that are computed together."""


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _blocks(
    size_in: int, size_out: int, device: torch.device, soft: bool
) -> list[tuple[int, int, Tensor]]:
    """The resampling of one axis in blocks of new pixels: from which of the old pixels up to which
    they are made, and a matrix (block, old pixels), each row summing to 1.

    A matrix of the whole axis would be zeros nearly everywhere.
    """
    places, weights = _taps(size_in, size_out, torch.device("cpu"), soft, False)
    blocks = []
    for start in range(0, size_out, _BLOCK):
        where, weight = (taps[start : start + _BLOCK] for taps in (places, weights))
        low, high = int(where[0, 0]), int(where[-1, -1]) + 1
        matrix = weight.new_zeros(len(where), high - low).scatter_add_(1, where - low, weight)
        blocks.append((low, high, matrix.to(device)))
    return blocks


def resampled(
    images: Tensor, side: int, size: int, soft: bool = False, only: slice | None = None
) -> Tensor:
    """One side (-2 or -1) of (B, C, H, W) resampled to ``size`` pixels, or to ``only`` some of
    these."""
    first, last = (0, size) if only is None else (only.start, only.stop)
    parts = []
    for number, (low, high, matrix) in enumerate(
        _blocks(images.shape[side], size, images.device, soft)
    ):
        start = number * _BLOCK
        rows = matrix if only is None else matrix[max(0, first - start) : max(0, last - start)]
        if len(rows):
            all_of_it = high - low == images.shape[side]
            old = images if all_of_it else images.narrow(side, low, high - low)
            parts.append(rows @ old if side == -2 else old @ rows.T)
    return torch.cat(parts, dim=side)


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def enlarged_and_back(small: int, large: int, device: torch.device, wraps: bool) -> Tensor:
    """The matrix (small, small) of enlarging an axis by Lanczos and scaling it back by the softer
    kernel."""
    back = matrix_of(large, small, device, soft=True, wraps=wraps)
    return back @ matrix_of(small, large, device, wraps=wraps)
