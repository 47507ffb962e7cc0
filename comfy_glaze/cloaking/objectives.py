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
    """

    goal: Callable[[Tensor, Tensor], Tensor]
    unit: Callable[[Tensor, Tensor], Tensor]
    value: Callable[[Tensor], Tensor]


def _own(own: Tensor, styled: Tensor) -> Tensor:
    return own


def _styled(own: Tensor, styled: Tensor) -> Tensor:
    return styled


def _nothing(own: Tensor, styled: Tensor) -> Tensor:
    return torch.zeros_like(own)


OBJECTIVES: dict[str, Objective] = {
    "towards": Objective(_styled, _styled, lambda ratio: ratio),
    "away": Objective(_own, _nothing, lambda ratio: 1 - ratio),
    "to-zero": Objective(_nothing, _nothing, lambda ratio: ratio),
}
"""Objectives by name: of Glaze, Fawkes and Nightshade; of LowKey; and of PhotoGuard."""
