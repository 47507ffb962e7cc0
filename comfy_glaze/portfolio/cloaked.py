"""One cloaked picture, in memory, with all that saving it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..cloaking.cloak import Cloak
from ..cloaking.effect import Effect, expected_effect
from ..cloaking.measures import Measures
from ..cloaking.verdict import Crops, Verdict, flat_share, judge
from ..files.artwork import Artwork
from ..images import VIEW_SIZE, panels_of
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

    def effect(self, encoded: Measures | None = None) -> Effect | None:
        """The expected fall of the artist's style; of poison it is not known.

        Args:
            encoded: the measures of a lossy file, where there is one.
        """
        if self.poison is not None:
            return None
        return expected_effect((encoded or self.cloak.measures[0]).least_changed)

    def verdict(self, rehearsal: bool, encoded: Measures | None = None) -> Verdict | None:
        """What the cloak is worth; None for another system's, which is there to be compared.

        Args:
            rehearsal: whether Φ belongs to no image generator
                (:attr:`comfy_glaze.networks.encoders.Encoder.is_rehearsal`).
            encoded: the measures of a lossy file, where there is one.
        """
        if self.cloak.system is not None:
            return None
        measures = self.cloak.measures[0]
        held, effect = encoded or measures, self.effect()
        size = self.original.shape[-2:]
        guarded = VIEW_SIZE if len(panels_of(*size)) > 1 else 2 * VIEW_SIZE
        large = min(size) > guarded
        before = measures.shift_512 if effect is None else effect.value
        return judge(
            held.shift_512 if large else min(held.shift_512, held.shift_native),
            self.effect(encoded),
            budget=self.cloak.budget,
            flat=flat_share(self.original),
            crops=Crops(held.shift_native, guarded) if large else None,
            lossless=before if encoded else None,
            rehearsal=rehearsal,
            poison=self.poison is not None,
        )
