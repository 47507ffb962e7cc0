"""A figure and its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

LEVEL = 0.95
"""Of every interval in this package."""

DRAWS = 2000


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% interval.

    Attributes:
        value: the mean.
        low, high: the interval's ends.
        count: how many values.
        groups: how many were resampled; what the interval rests on.
    """

    value: float
    low: float
    high: float
    count: int
    groups: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def mean_interval(
    values: Sequence[float], groups: Sequence[object] | None = None, seed: int = 0
) -> Interval:
    """The mean, with a percentile bootstrap interval over whole groups.

    Pictures that one fine-tuned model drew are not independent of each other: resampling groups
    (models, or raters) and not values keeps the interval honest.  Of a single group the values
    themselves are resampled, and the interval says nothing about other groups.

    Args:
        values: any numbers.
        groups: for each value, what it belongs to; each value alone without.
        seed: of the 2,000 resamplings.

    Raises:
        ValueError: there are no values, or not a group for each.
    """
    if not len(values):
        raise ValueError("An interval needs at least one value, but got none.")
    numbers = np.asarray(values, dtype=float)
    names = list(range(len(numbers))) if groups is None else list(groups)
    if len(names) != len(numbers):
        raise ValueError(
            f"Expected a group for each of {len(numbers)} values, but got {len(names)}."
        )
    if len(set(names)) == 1:
        names = list(range(len(numbers)))
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    of = np.array([index[name] for name in names])
    sums = np.bincount(of, numbers)
    counts = np.bincount(of)
    drawn = np.random.default_rng(seed).integers(len(index), size=(DRAWS, len(index)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(numbers.mean()), float(low), float(high), len(numbers), len(index))


def share_interval(
    hits: Sequence[bool], groups: Sequence[object] | None = None, seed: int = 0
) -> Interval:
    """The share of hits, with an interval that never has no width.

    Where all values agree, resampling knows no spread; then the Wilson interval for as many trials
    as there are groups takes its place.
    """
    interval = mean_interval([float(hit) for hit in hits], groups, seed)
    if 0 < interval.value < 1:
        return interval
    from scipy.stats import binomtest  # slow to import

    hits_of_groups = round(interval.value * interval.groups)
    wilson = binomtest(hits_of_groups, interval.groups).proportion_ci(LEVEL, "wilson")
    low, high = float(wilson.low), float(wilson.high)
    return Interval(interval.value, low, high, interval.count, interval.groups)
