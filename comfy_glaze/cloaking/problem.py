"""What the methods solve: Eq. 2 on the views of pictures, inside the room that δ has."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..images import LEVELS, as_scaled_back, resize, size_to_optimise, views_of
from .budget import Budget
from .measures import Comparison, ViewTarget
from .room import Room


@dataclass(frozen=True, eq=False)
class Problem:
    """One optimisation: Eq. 2 on every view, and the set that δ must stay in.

    Attributes:
        comparison: the pictures at the size at which δ is optimised.
        targets: one per view, the whole picture first.
        budget: limit, α and the cap where it is one number.
        cap: the L∞ cap in [0, 1] units, for all pixels or (B or 1, 3 or 1, h, w).
        below, above: per pixel, how far δ may go down and up.
        enlarged_to: (H, W) of the file where δ is found on a smaller copy; else None.
    """

    comparison: Comparison
    targets: tuple[ViewTarget, ...]
    budget: Budget
    cap: float | Tensor
    below: Tensor
    above: Tensor
    enlarged_to: tuple[int, int] | None = None

    @classmethod
    def of(cls, comparison: Comparison, room: Room, budget: Budget, views: int | None) -> Problem:
        """The problem on pictures whose short side is at most ``views`` views, or any.

        Larger ones are scaled down to one view: their δ is optimised there, and enlarged when it is
        done.
        """
        height, width = room.images.shape[-2:]
        if views is not None:
            height, width = size_to_optimise(height, width, views)
        full = room.images.shape[-2:]
        room, below, above = room.scaled_to(height, width)
        if room.images is not comparison.original:
            styled = resize(comparison.styled, height, width).clamp(0, 1)
            comparison = Comparison.of(
                room.images, styled, comparison.encoder, comparison.metric, comparison.objective
            )
        targets = comparison.keep(views_of(height, width))
        cap = 16 / LEVELS if room.cap is None else room.cap
        enlarged_to = None if (height, width) == full else (full[0], full[1])
        return cls(comparison, targets, budget, cap, below, above, enlarged_to)

    @property
    def images(self) -> Tensor:
        return self.comparison.original

    @property
    def weights(self) -> list[float]:
        """Of the views: the whole picture counts as much as all native tiles together."""
        tiles = len(self.targets) - 1
        return [0.5] + tiles * [0.5 / tiles] if tiles else [1.0]

    def seen(self, delta: Tensor, target: ViewTarget, soft: bool = False) -> Tensor:
        """A view of x + δ, (B, 3, h, w), scaled by Lanczos or by the softer bilinear kernel.

        Of a smaller copy always what the softer one leaves of the enlarged δ: what survives that
        survives every kernel.
        """
        if self.enlarged_to is not None:
            delta = as_scaled_back(delta, *self.enlarged_to)
        return target.view.of(self.images + delta, soft)

    def distance(
        self, seen: Tensor, target: ViewTarget, dtype: torch.dtype | None = None
    ) -> Tensor:
        """J of a view of x + δ, (B,): d / d₀, the first half of Eq. 2, for ``towards``.

        Args:
            seen: the view as it is, (B, 3, h, w); a mimic's changes would come before Φ here.
            dtype: what Φ computes in; None for float32.
        """
        encoder = self.comparison.encoder
        with torch.autocast(encoder.device.type, dtype, enabled=dtype is not None):
            features = encoder(seen)
        return target.value(features)

    def perceptual(self, seen: Tensor, target: ViewTarget) -> Tensor:
        """The metric's value of a view of x + δ, (B,): what the second half of Eq. 2 limits."""
        metric, reference = self.comparison.metric, target.reference
        if reference is None:
            reference = self.comparison.reference(target.view)
        if metric is None or reference is None:
            return torch.zeros(len(seen), device=seen.device)
        return metric.distance(reference, seen)

    def project_(self, delta: Tensor) -> None:
        """Clamp δ in place to the L∞ cap, the pixels' range, and the pixels left alone."""
        with torch.no_grad():
            torch.maximum(torch.minimum(delta, self.above), self.below, out=delta.data)

    def random_start(self, seed: int) -> Tensor:
        """Half a grey level of noise: δ = 0 is a stationary point of every perceptual metric.

        Every picture of a batch starts alike, so that it is cloaked as it would be alone.
        """
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(1, *self.images.shape[1:], generator=generator) - 0.5
        delta = (noise / LEVELS).to(self.images.device).expand_as(self.images).clone()
        self.project_(delta)
        return delta.requires_grad_()
