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
from .measures import worst_perceptual
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


def cloak_as(
    system: str,
    images: Tensor,
    *,
    styled: Tensor,
    stranger: Tensor,
    encoder: Encoder,
    budget: Budget,
    settings: CloakSettings,
    metric: PerceptualMetric,
) -> Cloak:
    """Cloak pictures as another system would, inside the same budget.

    Args:
        system: a key of :data:`SYSTEMS`.
        images: the originals (B, 3, H, W) in [0, 1].
        styled: Ω(images, T), same shape and range.
        stranger: another artist's artwork at the same size, which Fawkes leads towards.
        encoder, budget, settings: as for :func:`comfy_glaze.cloak.optimize_cloak`.
        metric: measures all systems; binds those that have a perceptual limit.

    Returns:
        The cloak; its shift is 1 − J of the system's own objective.

    Raises:
        ValueError: no such system.
    """
    if system not in SYSTEMS:
        raise ValueError(f"Expected a system among {', '.join(SYSTEMS)}, but got {system}.")
    chosen = SYSTEMS[system]
    goal = {"styled": styled, "stranger": stranger, None: images}[chosen.goal]
    if chosen.metric:
        return optimize_cloak(
            images, goal, encoder, budget, settings, metric=metric, objective=chosen.objective
        )
    cloak = optimize_cloak(images, goal, encoder, replace(budget, metric="none"), settings)
    seen = worst_perceptual(images.to(encoder.device), cloak.images, metric).tolist()
    measures = zip(cloak.measures, seen, strict=True)
    return replace(cloak, measures=tuple(replace(m, perceptual=value) for m, value in measures))
