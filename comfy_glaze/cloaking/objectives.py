"""Where a cloak leads the features: towards others, away from the original's, or to zero.

An objective J is minimised, and is 1 for the untouched picture.  The shift 1 − J therefore means
the same for all of them: 0 for an untouched picture, 1 when the goal is reached.  (``away`` has no
goal to reach.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Objective:
    """J(φ), a function of d(φ, goal) / d(Φ(x), unit).

    Attributes:
        goal, unit: functions that give features (B, C, h, w) from Φ(x) and Φ(styled).
        value: the function that gives J from the ratio of the two distances.
        looks: what of the features (B, C, h, w) counts, (B, ...): all of them, unless told
            otherwise. ``goal`` and ``unit`` are given what it gives.
        styled: whether the styled picture is where it leads, so that reports show that picture.
        flat: whether its gradient is zero at δ = 0, so that every method must start beside it.
    """

    goal: Callable[[Tensor, Tensor], Tensor]
    unit: Callable[[Tensor, Tensor], Tensor]
    value: Callable[[Tensor], Tensor]
    looks: Callable[[Tensor], Tensor] = lambda features: features
    styled: bool = True
    flat: bool = False


def _own(own: Tensor, styled: Tensor) -> Tensor:
    return own


def _styled(own: Tensor, styled: Tensor) -> Tensor:
    return styled


def _nothing(own: Tensor, styled: Tensor) -> Tensor:
    return torch.zeros_like(own)


OBJECTIVES: dict[str, Objective] = {
    "towards": Objective(_styled, _styled, lambda ratio: ratio),
    "away": Objective(_own, _nothing, lambda ratio: 1 - ratio, styled=False, flat=True),
    "to-zero": Objective(_nothing, _nothing, lambda ratio: ratio, styled=False),
}
"""Objectives by name: of Glaze, Fawkes and Nightshade; of LowKey; and of PhotoGuard."""
