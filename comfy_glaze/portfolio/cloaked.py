"""One cloaked picture, in memory, with all that saving it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..cloaking.cloak import Cloak
from ..files.artwork import Artwork
from ..styles.target import TargetStyle


@dataclass(frozen=True, eq=False)
class CloakedPicture:
    """One cloaked picture, in memory.

    Attributes:
        artwork: what is saved along with the pixels.
        original, styled: what the cloak was made from, images (1, 3, H, W) in [0, 1], or held as
            levels.
        cloak: of this one picture, with its measures.
        target: T, where it is known.
        poison: what the report says of concept poison (see
            :func:`comfy_glaze.poison.anchors.poison_words`); None for a cloak.
        seconds: wall time so far, loading apart.
    """

    artwork: Artwork
    original: Tensor
    styled: Tensor
    cloak: Cloak
    target: TargetStyle | None
    poison: Mapping[str, Any] | None = None
    seconds: float = 0.0
