"""What of a picture's features makes its style: the statistics behind a centroid.

Every statistic maps features (B, C, h, w) of pictures to one vector each, (B, D); a style's
centroid is the mean of its pictures' vectors, and distances are L2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

DEFAULT_STATISTIC = "mean+std"
PLACES = 16
"""Side of the grid on which ``places`` compares features position by position."""


def _places(features: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(features, PLACES).flatten(1)


def _mean(features: Tensor) -> Tensor:
    return features.flatten(2).mean(dim=2)


def _mean_std(features: Tensor) -> Tensor:
    positions = features.flatten(2)
    return torch.cat([positions.mean(dim=2), positions.std(dim=2, correction=0)], dim=1)


def _gram(features: Tensor) -> Tensor:
    positions = features.flatten(2)
    products = positions @ positions.transpose(1, 2) / positions.shape[2]
    row, column = torch.tril_indices(*products.shape[1:], device=products.device)
    return products[:, row, column]


STYLE_VECTORS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean+std": _mean_std,
    "mean": _mean,
    "gram": _gram,
    "places": _places,
}
"""Statistics by name.

``mean+std``: per channel, mean and standard deviation over all positions, D = 2C.
``mean``: per channel, the mean over all positions, D = C.
``gram``: products of channels, averaged over all positions, D = C (C + 1) / 2.
``places``: the features themselves, position by position on a 16 × 16 grid, D = 256 C: the paper's
"feature space centroid" read literally.
"""
