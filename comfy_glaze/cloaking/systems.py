"""Other systems, adapted to artworks as in the paper's appendix A.1, and run like a cloak.

All share the cloak's encoder, perceptual limit, views and optimiser; only where the features are
led differs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from ..networks.encoders import Encoder
from ..networks.perceptual import PerceptualMetric
from .budget import Budget
from .cloak import Cloak, CloakSettings, OnStep, optimize_cloak
from .measures import worst_perceptual


@dataclass(frozen=True)
class System:
    """A system, as what its cloak leads the features to.

    Attributes:
        objective: a key of :data:`comfy_glaze.cloaking.objectives.OBJECTIVES`.
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
    """Cloak pictures as another system would, inside the same budget, and measure them alike.

    Args:
        system: a key of :data:`SYSTEMS`.
        images: the originals (B, 3, H, W) in [0, 1].
        styled: Ω(images, T), same shape and range.
        stranger: another artist's artwork at the same size, which Fawkes leads towards.
        encoder, budget, settings: as for :func:`comfy_glaze.cloaking.cloak.optimize_cloak`.
        metric: measures all systems; binds those that have a perceptual limit.

    Returns:
        The cloak; its shift is 1 − J of the system's own objective.

    Raises:
        ValueError: no such system.
    """
    chosen = _system(system)
    goal = {"styled": styled, "stranger": stranger, None: images}[chosen.goal]
    cloak = optimize_as(system, images, goal, encoder, budget, settings, metric=metric)
    if chosen.metric:
        return cloak
    seen = worst_perceptual(images.to(encoder.device), cloak.images, metric).tolist()
    measures = zip(cloak.measures, seen, strict=True)
    return replace(cloak, measures=tuple(replace(m, perceptual=value) for m, value in measures))


def optimize_as(
    system: str,
    images: Tensor,
    goal: Tensor,
    encoder: Encoder,
    budget: Budget,
    settings: CloakSettings,
    on_step: OnStep | None = None,
    *,
    keep_clear: Tensor | None = None,
    metric: PerceptualMetric | None = None,
) -> Cloak:
    """:func:`comfy_glaze.cloaking.cloak.optimize_cloak` as a system would do it.

    Args:
        system: a key of :data:`SYSTEMS`.
        goal: what :attr:`System.goal` names; ``images`` for a system that approaches no picture.
        budget: its perceptual limit counts for those that have one.

    Raises:
        ValueError: no such system.
    """
    chosen = _system(system)
    if not chosen.metric:
        budget, metric = replace(budget, metric="none"), None
    cloak = optimize_cloak(
        images,
        goal,
        encoder,
        budget,
        settings,
        on_step,
        keep_clear=keep_clear,
        metric=metric,
        objective=chosen.objective,
    )
    return replace(cloak, system=None if system == "glaze" else system)


def _system(name: str) -> System:
    if name not in SYSTEMS:
        raise ValueError(f"Expected a system among {', '.join(SYSTEMS)}, but got {name}.")
    return SYSTEMS[name]
