"""The budget: how much may change, held on the pixels that a file will hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..images import LEVELS
from .visibility import Sight


@dataclass(frozen=True)
class Budget:
    """How much may change; :data:`PRESETS` has those that were chosen by measuring.

    Attributes:
        limit: p, the largest perceptual value, on the scale of ``metric``.
        linf: the largest change of a pixel value in [0, 1] units; None for no cap.
        sight: how the cap is spread over the picture (see :mod:`comfy_glaze.cloaking.visibility`);
            None for the same cap everywhere.
        metric: a name of :data:`comfy_glaze.networks.perceptual.PERCEPTUAL_METRICS`, ``auto``, or
            ``none`` for no perceptual limit at all.
        alpha: α of Eq. 2, relative to the feature distance divided by its initial value.
    """

    limit: float
    linf: float | None
    sight: Sight | None = None
    metric: str = "auto"
    alpha: float = 20.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.limit) and self.limit > 0):
            raise ValueError(f"The perceptual limit must be above 0, but got {self.limit:g}.")
        if self.linf is not None and not 1 / LEVELS - 1e-9 <= self.linf <= 1:
            raise ValueError(
                f"The L∞ cap must lie between 1/255 (one grey level) and 1, but got {self.linf:g}."
            )
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"alpha must be 0 or more, but got {self.alpha:g}.")

    @property
    def preset(self) -> str:
        """The name of the preset whose limit, cap and sight these are, or ``custom``."""
        for name, preset in (PRESETS | {"nightshade": NIGHTSHADE}).items():
            if replace(self, metric=preset.metric, alpha=preset.alpha) == preset:
                return name
        return "custom"

    def changed(
        self, limit: float | None = None, linf: float | None = None, uniform: bool = False
    ) -> Budget:
        """This budget with another limit or cap, or with its cap spread evenly."""
        return replace(
            self,
            limit=self.limit if limit is None else limit,
            linf=self.linf if linf is None else linf,
            sight=None if uniform else self.sight,
        )


PRESETS: dict[str, Budget] = {
    "gallery": Budget(limit=0.05, linf=22 / LEVELS, sight=Sight(0.95, 0.75)),
    "default": Budget(limit=0.09, linf=22 / LEVELS, sight=Sight(1.4, 1.5)),
    "strong": Budget(limit=0.20, linf=32 / LEVELS, sight=Sight(2.1, 2.0, 6)),
}
"""Budgets as an artist would name them: how visible, on real illustrations at 100%.  What they did
to mimics is in ``docs/real-art-world.md``."""


NIGHTSHADE = Budget(limit=0.07, linf=10 / LEVELS)
"""The paper's limit, and the smallest cap at which nearly all pairs of the bundled artworks lose
six tenths of their feature distance in a cloak's number of gradients (``docs/nightshade.md``).  The
cap is the same everywhere, since an anchor lies farther away than a redrawn picture; it can be seen
on even ground."""
