"""Which style an artist's work is led towards: the percentile rule of Glaze, §5.3 step 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .bank import Style, StyleBank, StyleBankError

LOW, HIGH = 50, 75
"""The paper's band: percentiles of the distances of all candidates."""

WORKS_FOR_A_STYLE = 5
"""With fewer works than these an artist's own centroid is rough, and so is the ranking."""


@dataclass(frozen=True)
class TargetStyle:
    """A candidate as one artist sees it.

    Attributes:
        style: T.
        distance: of its centroid from the artist's own (L2); None where no bank was at hand.
        percentile: where it lies among all candidates, 0 (nearest) to 100; None likewise.
        seed: what drew it, for the report; None where that is not known.
    """

    style: Style
    distance: float | None = None
    percentile: float | None = None
    seed: int | None = None


def rank_styles(bank: StyleBank, artist: Tensor) -> list[TargetStyle]:
    """All candidates, nearest first.

    Args:
        bank: the candidates.
        artist: the artist's own centroid (D,), from the same encoder
            (:func:`comfy_glaze.styles.bank.centroid_of`).
    """
    if not bank.styles:
        raise StyleBankError("A target style needs at least one candidate, but the bank is empty.")
    if artist.shape != bank.centroids.shape[1:]:
        raise StyleBankError(
            f"The artist's centroid must have {bank.centroids.shape[1]} values like the bank's, "
            f"but it has {tuple(artist.shape)}."
        )
    distances = (bank.centroids - artist).norm(dim=1).double().numpy()
    order = np.argsort(distances, kind="stable")
    steps = max(len(order) - 1, 1)
    below = np.searchsorted(distances[order], distances, side="left")
    last = np.searchsorted(distances[order], distances, side="right") - 1
    percentiles = 100 * (below + last) / 2 / steps  # equal distances share one percentile
    return [TargetStyle(bank.styles[i], float(distances[i]), float(percentiles[i])) for i in order]


def in_band(
    ranked: Sequence[TargetStyle], low: float = LOW, high: float = HIGH
) -> list[TargetStyle]:
    """The candidates whose distance lies between two percentiles of all distances, both included.

    Percentiles are numpy's (linear).  In a tiny bank the band may hold nobody; then the candidates
    nearest to it are returned.

    Raises:
        ValueError: not 0 ≤ low ≤ high ≤ 100.
    """
    if not 0 <= low <= high <= 100:
        raise ValueError(f"Expected 0 ≤ low ≤ high ≤ 100, but got low {low:g} and high {high:g}.")
    distances = np.array([candidate.distance for candidate in ranked], dtype=float)
    bottom, top = np.percentile(distances, [low, high])
    outside = np.maximum(bottom - distances, distances - top).clip(min=0)
    return [ranked[int(i)] for i in np.flatnonzero(outside == outside.min())]


def select_target_style(
    ranked: Sequence[TargetStyle], low: float = LOW, high: float = HIGH, seed: int = 0
) -> TargetStyle:
    """One candidate of the band at random; the same seed picks the same one."""
    band = in_band(ranked, low, high)
    return band[int(np.random.default_rng(seed).integers(len(band)))]
