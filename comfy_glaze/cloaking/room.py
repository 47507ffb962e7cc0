"""How far pixels may change: the cap around the originals, and the largest δ inside the limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..images import LEVELS, View, as_held, bands, enlarged, floats, resize, to_grid
from ..networks.perceptual import Reference
from .budget import Budget
from .measures import Comparison
from .ties import FREE, Ties
from .visibility import cap_map

TOLERANCE = 1e-4
"""In grey levels: how far float32 rounding may move an exact value of the grid."""


def room_for(
    images: Tensor, linf: float | Tensor | None, keep_clear: Tensor | None, on_grid: bool = True
) -> tuple[Tensor, Tensor]:
    """How far each pixel may go down and up, (B, 3, H, W) each, for images (B, 3, H, W) in [0, 1].

    Args:
        linf: the cap in [0, 1] units, for all pixels or (B or 1, 3 or 1, H, W); None for no cap.
        keep_clear: (B or 1, 1, H, W), above 0.5 where pixels must not change.
        on_grid: whether both bounds lie on the 8-bit grid, so that rounding x + δ to the grid
            cannot exceed the cap.
    """
    cap = 1.0 if linf is None else linf
    low, high = (images - cap) * LEVELS - TOLERANCE, (images + cap) * LEVELS + TOLERANCE
    if on_grid:
        low, high = low.ceil(), high.floor()
    below, above = low.clamp(0, LEVELS) / LEVELS - images, high.clamp(0, LEVELS) / LEVELS - images
    if keep_clear is not None:
        free = (keep_clear <= 0.5).to(images)
        below, above = below * free, above * free
    return below, above


@dataclass(frozen=True, eq=False)
class Room:
    """Originals, and how far their pixels may change.

    Attributes:
        images: (B, 3, H, W) in [0, 1], or held as levels.
        cap: as ``linf`` of :func:`room_for`, or whole grey levels as uint8.
        keep_clear: as in :func:`room_for`.
        wraps: whether the pictures repeat, so that their edges meet.
        ties: what changes alike; caps and ``keep_clear`` are those of whole blocks.
    """

    images: Tensor
    cap: float | Tensor | None
    keep_clear: Tensor | None
    wraps: bool = False
    ties: Ties = FREE

    @classmethod
    def of(
        cls,
        images: Tensor,
        budget: Budget,
        keep_clear: Tensor | None,
        wraps: bool = False,
        ties: Ties = FREE,
    ) -> Room:
        """The room that a budget gives: its cap, which its sight, if any, lowers pixel by pixel."""
        if keep_clear is not None:
            keep_clear = -ties.least(-keep_clear)
        if budget.sight is None:
            return cls(images, budget.linf, keep_clear, wraps, ties)
        linf = 1.0 if budget.linf is None else budget.linf
        cap = ties.least(cap_map(images, linf, budget.sight, wraps))
        return cls(images, cap, keep_clear, wraps, ties)

    def check(self) -> None:
        """Raise unless every picture has pixels that may change.

        Raises:
            ValueError: the mask has another shape, or leaves nothing to change.
        """
        batch, _, *size = self.images.shape
        if self.keep_clear is not None and self.keep_clear.shape not in (
            (1, 1, *size),
            (batch, 1, *size),
        ):
            raise ValueError(
                f"keep_clear must have the shape {(batch, 1, *size)}, "
                f"but it has {tuple(self.keep_clear.shape)}."
            )
        if not bool(self.free().all()):
            raise ValueError(
                "A picture needs pixels that may change, but keep_clear covers it all; transparent "
                "pixels count as covered."
            )

    def free(self) -> Tensor:
        """Which pictures have pixels that may change, (B,)."""
        free = torch.zeros(len(self.images), dtype=torch.bool, device=self.images.device)
        for band in bands(*self.images.shape[-2:]):
            below, above = self.window(band)
            free |= (above > below).flatten(1).any(dim=1)
        return free

    def window(self, window: View) -> tuple[Tensor, Tensor]:
        """:func:`room_for` of a window."""
        cap = _in_units(window.cut(self.cap) if isinstance(self.cap, Tensor) else self.cap)
        clear = None if self.keep_clear is None else window.cut(self.keep_clear)
        return room_for(floats(window.cut(self.images)), cap, clear)

    def within(self, panel: View) -> Room:
        """The room of a window of the pictures."""
        cap = panel.cut(self.cap) if isinstance(self.cap, Tensor) else self.cap
        clear = None if self.keep_clear is None else panel.cut(self.keep_clear)
        wraps = self.wraps and (panel.height, panel.width) == self.images.shape[-2:]
        return Room(panel.cut(self.images), cap, clear, wraps, self.ties.within(panel))

    def scaled_to(self, height: int, width: int) -> tuple[Room, Tensor, Tensor]:
        """The room of the pictures at another size, and how far each pixel may go there.

        At another size each pixel is a mean of several, so the bounds need not lie on the 8-bit
        grid; only the cap is rounded down to whole grey levels.
        """
        if (height, width) == self.images.shape[-2:]:
            images, cap = floats(self.images), _in_units(self.cap)
            room = Room(images, cap, self.keep_clear, self.wraps, self.ties)
            return room, *room_for(images, cap, self.keep_clear)
        images = resize(self.images, height, width).clamp(0, 1)
        cap = self.cap
        if isinstance(cap, Tensor):
            if cap.dtype != torch.uint8:
                cap = _whole_levels(cap)
            cap = resize(cap, height, width).clamp_min(0)
        elif cap is not None:
            cap = float(_whole_levels(torch.tensor(cap)))
        clear = None if self.keep_clear is None else resize(self.keep_clear, height, width)
        room = Room(images, cap, clear, self.wraps, self.ties.without_blocks())
        return room, *room_for(images, cap, clear, on_grid=False)

    def cloaked(self, delta: Tensor, scale: Tensor, window: View) -> Tensor:
        """A window of x + s·δ, on the 8-bit grid; pixels that may not change stay unrounded.

        Where s < 1 the rounding is dithered.  Most of δ lies at the cap, and plain rounding would
        take a whole grey level from all of it at once.

        Args:
            delta: δ, (B, 3, h, w), at the pictures' size or a smaller one.
            scale: s, (B,), from 0 to 1.
        """
        images = floats(window.cut(self.images))
        below, above = self.window(window)
        height, width = self.images.shape[-2:]
        change = enlarged(delta, height, width, window, self.wraps)
        scale = scale.view(-1, 1, 1, 1)
        moved = images + scale * torch.maximum(torch.minimum(change, above), below)
        rounded = to_grid(moved)
        if bool((scale < 1).any()):
            dither = _dither(*self.ties.places(window)).to(moved)
            dithered = (moved * LEVELS + dither).floor() / LEVELS
            rounded = torch.where(scale < 1, dithered, rounded)
        return torch.where(above > below, rounded, images)

    def cloaked_whole(self, delta: Tensor, scale: Tensor) -> Tensor:
        """The whole of x + s·δ, as :meth:`cloaked` gives it, computed band by band, and held as the
        pictures are."""
        cloaked = torch.empty_like(self.images)
        for band in bands(*self.images.shape[-2:]):
            band.cut(cloaked).copy_(as_held(self.cloaked(delta, scale, band), cloaked))
        return cloaked


def _dither(rows: Tensor, columns: Tensor) -> Tensor:
    """Thresholds (h, w) in (0, 1) for dithering, which depend only on a pixel's position, the
    number of its row and column.

    Interleaved gradient noise (J. Jimenez, SIGGRAPH 2014), evenly distributed and kept away from 0
    and 1 so that float32 rounding cannot cross them.
    """
    pattern = (52.9829189 * ((0.00583715 * rows[:, None] + 0.06711056 * columns) % 1)) % 1
    return (0.01 + 0.98 * pattern).float()


def _whole_levels(cap: Tensor) -> Tensor:
    return (cap * LEVELS + TOLERANCE).floor() / LEVELS


def _in_units(cap: float | Tensor | None) -> float | Tensor | None:
    """A cap in [0, 1] units, converted if it was in whole grey levels (uint8)."""
    if isinstance(cap, Tensor) and cap.dtype == torch.uint8:
        return cap.float() / LEVELS
    return cap


def largest_inside(
    comparison: Comparison, room: Room, delta: Tensor, limit: float, tries: int = 8
) -> tuple[Tensor, Tensor]:
    """x + s·δ on the 8-bit grid, with nearly the largest s ≤ 1 that stays inside the limit.

    s is found for each image on the rounded pixels, by false position in a view that exceeds the
    limit.  s = 0 is the original and always passes.

    Args:
        comparison: measures the perceptual value.
        room: the originals, and the bounds to which δ is clamped.
        delta: δ, (B, 3, h, w), at the pictures' size or a smaller one.
        limit: p, on the scale of the comparison's metric.

    Returns:
        The cloaked pictures, and their perceptual values (B,) in the worst view.
    """
    limit *= 1 - 1e-3  # the same pixels measure a little differently on another device
    metric = comparison.metric
    scale = torch.ones(len(delta), device=delta.device)
    if metric is None:
        return room.cloaked_whole(delta, scale), torch.zeros_like(scale)

    def value_at(scale: Tensor, view: View, reference: Reference) -> Tensor:
        if not view.native or view == comparison.views[0]:
            return metric.distance(reference, view.of(room.cloaked_whole(delta, scale)))
        return metric.distance(reference, room.cloaked(delta, scale, view))

    while True:  # until all views pass at one scale: after the second round, as a rule
        cloaked, before = room.cloaked_whole(delta, scale), scale
        worst = torch.zeros_like(scale)
        for view in comparison.views:
            reference = comparison.reference(view)
            assert reference is not None
            value = metric.distance(reference, view.of(cloaked))
            worst = torch.maximum(worst, value)
            if bool((value > limit).any()):
                at_view = partial(value_at, view=view, reference=reference)
                scale = torch.minimum(scale, _scale_inside(at_view, before, value, limit, tries))
        if torch.equal(scale, before):
            return cloaked, worst


def _scale_inside(
    value_at: Callable[[Tensor], Tensor], scale: Tensor, value: Tensor, limit: float, tries: int
) -> Tensor:
    """The largest scale found, (B,), at most ``scale``, whose perceptual value is in the limit.

    The value usually grows faster than the scale and slower than its square.  The first guess
    takes it to be linear in the scale, which then usually fits.  Each further guess takes its root
    to be linear.  The value is not certain to grow with the scale, so until a guess fits, each is
    at most half of the previous one.
    """
    inside = value <= limit
    fits, fails = torch.where(inside, scale, 0), scale
    fits_value, fails_value = torch.where(inside, value, 0), value
    for _ in range(tries):
        linear = limit / fails_value.clamp_min(1e-12)
        low, high = fits_value.sqrt(), fails_value.sqrt()
        root = ((limit**0.5 - low) / (high - low).clamp_min(1e-12)).clamp(0.05, 0.95)
        nothing_failed_below = fails == scale
        first = torch.where(nothing_failed_below, linear, linear.clamp_max(0.5))
        share = torch.where(fits > 0, root, first)
        middle = torch.where(inside, scale, fits + share * (fails - fits))
        value = value_at(middle)
        passes = value <= limit
        fits, fails = torch.where(passes, middle, fits), torch.where(passes, fails, middle)
        fits_value = torch.where(passes, value, fits_value)
        fails_value = torch.where(passes, fails_value, value)
        if bool((inside | (fits_value > 0.98 * limit)).all()):
            break
    return fits
