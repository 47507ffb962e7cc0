"""What a cloak leaves alike: a grey picture's channels, and the blocks that pixel art is made of.

A change of equal pixels that differs from one to the next is what people notice: coloured grain on
a grey drawing, and noise inside the squares of pixel art.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import View, bands

_LARGEST_BLOCK = 64  # px: larger even areas are a drawing's, not pixels of an enlarged one
_FEWEST_BLOCKS = 8  # along a side: fewer are a drawing's shapes as well
_USED = 0.5  # of the lines between blocks, how many at least are edges of the picture


@dataclass(frozen=True)
class Ties:
    """Which values of δ are one and the same.

    Attributes:
        grey: whether the three channels change alike.
        block: height and width of the blocks whose pixels change alike; (1, 1) for none.
        first: top and left of the first whole block, less than ``block``; what lies before it, and
            after the last one, are parts of blocks.
    """

    grey: bool = False
    block: tuple[int, int] = (1, 1)
    first: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, images: Tensor, with_blocks: bool = True) -> Ties:
        """What is alike in pictures (B, 3, H, W), in all of them."""
        height, width = images.shape[-2:]
        grey = all(_is_grey(band.cut(images)) for band in bands(height, width))
        if not with_blocks:
            return cls(grey)
        down, across = _grid(_edges(images, -2), height), _grid(_edges(images, -1), width)
        if down is None or across is None:
            return cls(grey)
        return cls(grey, (down[0], across[0]), (down[1], across[1]))

    @property
    def has_blocks(self) -> bool:
        """Whether there are blocks of more than one pixel."""
        return self.block != (1, 1)

    def without_blocks(self) -> Ties:
        """The same for pictures of another size, in which the blocks are blurred."""
        return Ties(self.grey)

    def within(self, panel: View) -> Ties:
        """The same for a window of the pictures."""
        starts = zip(self.first, (panel.top, panel.left), self.block, strict=True)
        top, left = ((first - start) % block for first, start, block in starts)
        return Ties(self.grey, self.block, (top, left))

    def mean(self, change: Tensor) -> Tensor:
        """The change (B, 3, H, W) nearest to a given one that leaves alike what is alike."""
        if self.grey:
            change = change.mean(dim=1, keepdim=True).expand_as(change)
        if not self.has_blocks:
            return change
        inside = F.avg_pool2d(self._padded(torch.ones_like(change[:1, :1])), self.block)
        means = F.avg_pool2d(self._padded(change), self.block) / inside
        return self._whole(means, change)

    def least(self, values: Tensor) -> Tensor:
        """The smallest value of each block, at each of its pixels, (B, C, H, W)."""
        if not self.has_blocks:
            return values
        padded = self._padded(-values.float(), -math.inf)
        return self._whole(-F.max_pool2d(padded, self.block), values).to(values.dtype)

    def places(self, window: View) -> tuple[Tensor, Tensor]:
        """The rows' and columns' numbers in a window, those of one block alike."""
        rows = torch.arange(window.top, window.top + window.window_height, dtype=torch.float64)
        columns = torch.arange(window.left, window.left + window.window_width, dtype=torch.float64)
        return (
            ((rows - self.first[0]) / self.block[0]).floor(),
            ((columns - self.first[1]) / self.block[1]).floor(),
        )

    def _padded(self, values: Tensor, value: float = 0.0) -> Tensor:
        """With the parts of blocks at the edges made whole."""
        top, left = (-first % size for first, size in zip(self.first, self.block, strict=True))
        # parts before the first whole block: that many rows are missing from it
        bottom = -(values.shape[-2] + top) % self.block[0]
        right = -(values.shape[-1] + left) % self.block[1]
        return F.pad(values, (left, right, top, bottom), value=value)

    def _whole(self, blocks: Tensor, like: Tensor) -> Tensor:
        """A value a block as one a pixel, at the size of ``like``."""
        rows, columns = (
            (torch.arange(size, device=blocks.device) + -first % block) // block
            for size, first, block in zip(like.shape[-2:], self.first, self.block, strict=True)
        )
        return blocks[..., rows, :][..., columns]


FREE = Ties()


def _is_grey(images: Tensor) -> bool:
    return bool((images[:, 1:] == images[:, :1]).all())


def _edges(images: Tensor, axis: int) -> Iterable[int]:
    """Where along an axis any pixel differs from the one before it, in rising order."""
    size = images.shape[axis]
    changes = torch.zeros(size - 1, dtype=torch.bool, device=images.device)
    length = images.shape[-1] if axis == -2 else images.shape[-2]
    for start in range(0, length, 64):  # what is no pixel art shows it in the first stripe
        stripe = images.narrow(-1 if axis == -2 else -2, start, min(64, length - start))
        before, after = stripe.narrow(axis, 0, size - 1), stripe.narrow(axis, 1, size - 1)
        others = (0, 1, 3) if axis == -2 else (0, 1, 2)
        changes |= (before != after).amax(dim=others)
        if bool(changes.all()):
            break
    return [place for place, changed in enumerate(changes.tolist(), start=1) if changed]


def _grid(edges: Iterable[int], size: int) -> tuple[int, int] | None:
    """The width of the blocks that edges stand between, and where the first one begins."""
    places = list(edges)
    if len(places) < 2:
        return None
    block = math.gcd(*(place - places[0] for place in places[1:]))
    lines = size // max(1, block) - 1
    if not 2 <= block <= min(_LARGEST_BLOCK, size // _FEWEST_BLOCKS) or len(places) < _USED * lines:
        return None
    return block, places[0] % block
