"""Where a cloak leads the features: towards others, away from its own, or to nothing.

Each objective is 1 for the untouched picture and is minimised, so that the shift s = 1 − J means the
same everywhere: 0 for an untouched picture, 1 when the goal is reached (``away`` has none to reach).
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
