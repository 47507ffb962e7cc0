"""The optimisation problem that every method solves: Eq. 2 on a picture's views, δ bounded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..devices import computing_in
from ..images import LEVELS, as_scaled_back, floats, resize, size_to_optimise, views_of
from .budget import Budget
from .comparison import Comparison, ViewTarget
from .room import Room
from .ties import FREE, Ties


@dataclass(frozen=True, eq=False)
class Problem:
    """One optimisation: Eq. 2 on every view, and the bounds that δ must stay in.

    Attributes:
        comparison: the pictures at the size at which δ is optimised.
        targets: for each encoder, one per view, the whole picture first.
        shares: how much each encoder counts; their sum is 1.
        budget: limit, α and the cap where it is one number.
        cap: the L∞ cap in [0, 1] units, for all pixels or (B or 1, 3 or 1, h, w).
        below, above: how far δ may go down and up at each pixel.
        enlarged_to: (H, W) of the file, if δ is optimised on a smaller copy of it; else None.
        panels: how many panels the file's picture is cut into, of which this is one.
        ties: what changes alike.
    """

    comparison: Comparison
    targets: tuple[tuple[ViewTarget, ...], ...]
    shares: tuple[float, ...]
    budget: Budget
    cap: float | Tensor
    below: Tensor
    above: Tensor
    enlarged_to: tuple[int, int] | None = None
    panels: int = 1
    ties: Ties = FREE

    @classmethod
    def of(
        cls,
        comparison: Comparison,
        room: Room,
        budget: Budget,
        views: int | None,
        panels: int = 1,
    ) -> Problem:
        """The problem for pictures, scaled down first if they are large.

        A panel of a strip is seen as a whole only, since the time for its native tiles grows with
        the strip's length.

        Args:
            views: the short side, in views of 512 px, up to which pictures are optimised at their
                own size; None for no limit.  The δ of larger ones is optimised on a copy of the
                size of one view, and enlarged at the end.
            panels: how many panels the file's picture is cut into, of which these are one.
        """
        height, width = room.images.shape[-2:]
        if views is not None:
            height, width = size_to_optimise(height, width, views)
        full = room.images.shape[-2:]
        room, below, above = room.scaled_to(height, width)
        if comparison.original.shape[-2:] != (height, width):
            styled = resize(comparison.styled, height, width).clamp(0, 1)
            comparison = Comparison.of(
                room.images,
                styled,
                comparison.encoder,
                comparison.metric,
                comparison.objective,
                comparison.wraps,
            )
        elif room.images is not comparison.original:  # it was held as levels
            comparison = _of_floats(comparison, room.images)
        seen = views_of(height, width, comparison.wraps)[: None if panels == 1 else 1]
        targets = tuple(each.keep(seen) for each in comparison.each)
        shares = tuple(share for _, share in comparison.encoder.members) or (1.0,)
        cap = 16 / LEVELS if room.cap is None else room.cap
        enlarged_to = None if (height, width) == full else (full[0], full[1])
        bounds = budget, cap, below, above
        return cls(comparison, targets, shares, *bounds, enlarged_to, panels, room.ties)

    @property
    def images(self) -> Tensor:
        return self.comparison.original

    @property
    def weights(self) -> list[float]:
        """Weights of the views: the whole picture counts as much as all native tiles together."""
        tiles = len(self.targets[0]) - 1
        return [0.5] + tiles * [0.5 / tiles] if tiles else [1.0]

    def seen(self, delta: Tensor, target: ViewTarget, soft: bool = False) -> Tensor:
        """A view of x + δ, (B, 3, h, w), scaled by Lanczos, or if ``soft`` by the bilinear kernel.

        If δ is optimised on a smaller copy, it is first enlarged to the file's size and scaled back
        by the bilinear kernel, whatever ``soft`` says.  That kernel leaves less of δ than other
        kernels do, so what survives it survives them as well.
        """
        if self.enlarged_to is not None:
            delta = as_scaled_back(delta, *self.enlarged_to, self.comparison.wraps)
        return target.view.of(self.images + delta, soft)

    def distance(
        self, seen: Tensor, target: ViewTarget, dtype: torch.dtype | None = None
    ) -> Tensor:
        """J of a view of x + δ by one encoder, (B,): for ``towards`` d / d₀, as in Eq. 2.

        Args:
            seen: what Φ is shown, (B, 3, h, w): the view, or the view after a random change.
            dtype: the type that Φ computes in; None for float32.
        """
        with computing_in(target.encoder.device, dtype):
            features = target.encoder(seen)
        return target.value(features)

    def perceptual(self, seen: Tensor, target: ViewTarget) -> Tensor:
        """The perceptual metric of a view of x + δ, (B,), which the second half of Eq. 2 limits."""
        metric, reference = self.comparison.metric, target.reference
        if reference is None:
            reference = self.comparison.reference(target.view)
        if metric is None or reference is None:
            return torch.zeros(len(seen), device=seen.device)
        return metric.distance(reference, seen)

    def project_(self, delta: Tensor) -> None:
        """Clamp δ in place to the L∞ cap, the pixels' range, and the pixels left alone; what is
        alike in the picture stays alike."""
        with torch.no_grad():
            alike = self.ties.mean(delta.data)
            torch.maximum(torch.minimum(alike, self.above), self.below, out=delta.data)

    def random_start(self, seed: int) -> Tensor:
        """Half a grey level of noise: δ = 0 is a stationary point of every perceptual metric.

        Every picture of a batch starts alike, so that it is cloaked as it would be alone.
        """
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(1, *self.images.shape[1:], generator=generator) - 0.5
        delta = (noise / LEVELS).to(self.images.device).expand_as(self.images).clone()
        self.project_(delta)
        return delta.requires_grad_()


def _of_floats(comparison: Comparison, original: Tensor) -> Comparison:
    """The same of pictures that are held as levels no more."""
    styled = floats(comparison.styled)
    members = tuple(_of_floats(member, original) for member in comparison.members)
    return replace(comparison, original=original, styled=styled, members=members)
