"""Where a cloak leads the features: towards others, beyond them, away from its own, or to zero.

An objective J is minimised, and is 1 for the untouched picture.  The shift 1 − J therefore means
the same for all of them: 0 for an untouched picture, 1 when the goal is reached.  (``beyond`` and
``away`` have no goal to reach.)
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


BEHIND = 0.25
"""How far behind the original the point lies that ``beyond`` leads away from, in units of the way
to the styled picture.  It decides little (0.25 and 1 move the features as far): the point is there
so that all works of an artist are led to one side."""


def _behind(own: Tensor, styled: Tensor) -> Tensor:
    return own - BEHIND * (styled - own)


def _nothing(own: Tensor, styled: Tensor) -> Tensor:
    return torch.zeros_like(own)


OBJECTIVES: dict[str, Objective] = {
    "towards": Objective(_styled, _styled, lambda ratio: ratio),
    "beyond": Objective(_behind, _behind, lambda ratio: 1 + BEHIND**2 * (1 - ratio)),
    "away": Objective(_own, _nothing, lambda ratio: 1 - ratio, styled=False, flat=True),
    "to-zero": Objective(_nothing, _nothing, lambda ratio: ratio, styled=False),
}
"""Objectives by name: of Glaze, Fawkes and Nightshade; to Glaze's side of the original, as far as
the budget allows; of LowKey; and of PhotoGuard."""

AUTO = "auto"
"""What :func:`objective_for` decides."""


def objective_for(name: str, method: str) -> str:
    """An objective by name; of ``auto`` the one that led mimics furthest, ``beyond``, but for the
    published method the published one."""
    if name != AUTO:
        return name
    return "towards" if method == "paper" else "beyond"
