"""Where a cloak leads the features: towards others, away from its own, or to nothing.

Each objective J is 1 for the untouched picture and is minimised, so that the shift 1 − J means the
same everywhere: 0 for an untouched picture, and 1 when the goal is reached (``away`` has none).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def feature_distance(features: Tensor, others: Tensor) -> Tensor:
    """d(a, b), (B,): the mean over all feature elements of (a − b)².

    Differs: Eq. 2 writes the squared L2 norm; the mean is the same up to a constant per picture and
    makes sizes comparable.
    """
    return (features - others).square().flatten(1).mean(dim=1)


@dataclass(frozen=True)
class Objective:
    """J(φ) of features φ, by way of d(φ, goal) / scale.

    Attributes:
        goal: from Φ(x) and Φ(styled), (B, C, h, w) each, to the features that d is taken from.
        scale: from Φ(x) and the goal to d's unit, (B,).
        value: from d / scale to J.
    """

    goal: Callable[[Tensor, Tensor], Tensor]
    scale: Callable[[Tensor, Tensor], Tensor]
    value: Callable[[Tensor], Tensor]


OBJECTIVES: dict[str, Objective] = {
    # Glaze, Fawkes, Nightshade: d(φ, Φ(styled)) / d(Φ(x), Φ(styled))
    "towards": Objective(lambda own, styled: styled, feature_distance, lambda d: d),
    # LowKey: 1 − d(φ, Φ(x)) / ‖Φ(x)‖²
    "away": Objective(
        lambda own, styled: own,
        lambda own, goal: feature_distance(own, torch.zeros_like(own)),
        lambda d: 1 - d,
    ),
    # PhotoGuard: ‖φ‖² / ‖Φ(x)‖²
    "to-zero": Objective(
        lambda own, styled: torch.zeros_like(own), feature_distance, lambda d: d
    ),
}
"""Objectives by name."""
