"""Whether a picture still shows what its original shows, so that comparing them says anything."""

from __future__ import annotations

import torch
from torch import Tensor

from ..images import resize, same_proportions, shrink

LOOKED_AT = 128
"""Both are compared with their short sides at this many pixels, where a cloak averages out."""

ALIKE = 0.95
"""The least correlation of two pictures that show the same.

Scaling, a cloak and a change of brightness or contrast leave 0.99 and more; cutting off a tenth
of each side leaves less.
"""

_PLAIN = 2 / 255  # spread of values below which a picture shows nothing that could be compared


@torch.no_grad()
def shows_the_same(original: Tensor, picture: Tensor) -> bool:
    """Whether a picture is the original, at whatever size, and not cropped, turned or another one.

    Args:
        original, picture: images (1, 3, H, W) in [0, 1].
    """
    sizes = [(image.shape[-2], image.shape[-1]) for image in (original, picture)]
    if not same_proportions(*sizes):
        return False
    one = shrink(original.cpu(), LOOKED_AT)
    other = resize(picture.cpu(), one.shape[-2], one.shape[-1])
    values = torch.stack([one.flatten(), other.flatten()])
    if bool((values.std(dim=1) < _PLAIN).any()):
        return bool((values.std(dim=1) < 2 * _PLAIN).all())
    return float(torch.corrcoef(values)[0, 1]) >= ALIKE
