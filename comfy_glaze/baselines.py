"""Other systems, adapted to artworks as in the paper's appendix A.1, and run like a cloak.

All share the cloak's encoder, perceptual limit, views and optimiser; only where the features are
led differs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from .budget import Budget
from .cloak import Cloak, CloakSettings, optimize_cloak
from .encoders import Encoder
from .perceptual import PerceptualMetric


@dataclass(frozen=True)
class System:
    """A system, as what its cloak leads the features to.

    Attributes:
        objective: a key of :data:`comfy_glaze.objectives.OBJECTIVES`.
        goal: the picture whose features are approached: ``styled``, ``stranger`` or none.
        metric: whether the perceptual limit binds it.
        source: who published it.
    """

    objective: str
    goal: str | None
    metric: bool
    source: str


SYSTEMS: dict[str, System] = {
    "glaze": System("towards", "styled", True, "Shan et al., USENIX Security 2023"),
    "fawkes": System("towards", "stranger", True, "Shan et al., USENIX Security 2020"),
    "lowkey": System("away", None, True, "Cherepanova et al., ICLR 2021"),
    "photoguard": System("to-zero", None, True, "Salman et al., ICML 2023, the encoder attack"),
    "sign-linf": System("towards", "styled", False, "what shipping tools run: sign steps, L∞ cap"),
}
"""Systems by name."""
