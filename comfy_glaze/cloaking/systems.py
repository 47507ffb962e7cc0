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
from .cloak import Cloak, CloakSettings, optimize_cloak
from .measures import worst_perceptual


@dataclass(frozen=True)
class System:
    """A system, as what its cloak leads the features to.

    Attributes:
        objective: a key of :data:`comfy_glaze.cloaking.objectives.OBJECTIVES`; None for the
            settings' own.
        goal: the picture whose features are approached: ``styled``, ``stranger`` or none.
        metric: whether the perceptual limit binds it.
        source: who published it.
    """

    objective: str | None
    goal: str | None
    metric: bool
    source: str

    def within(self, budget: Budget) -> Budget:
        """What of a budget binds this system."""
        return budget if self.metric else replace(budget, metric="none")

    def aimed(self, settings: CloakSettings) -> CloakSettings:
        """The settings with this system's objective."""
        return replace(settings, objective=self.objective or settings.objective)


SYSTEMS: dict[str, System] = {
    "glaze": System(None, "styled", True, "Shan et al., USENIX Security 2023"),
    "fawkes": System("towards", "stranger", True, "Shan et al., USENIX Security 2020"),
    "lowkey": System("away", None, True, "Cherepanova et al., ICLR 2021"),
    "photoguard": System("to-zero", None, True, "Salman et al., ICML 2023, the encoder attack"),
    "sign-linf": System("towards", "styled", False, "what shipping tools run: sign steps, L∞ cap"),
}
"""Systems by name."""


def system_called(name: str) -> System:
    """A system by name.

    Raises:
        ValueError: there is none.
    """
    if name not in SYSTEMS:
        raise ValueError(f"Expected a system among {', '.join(SYSTEMS)}, but got {name}.")
    return SYSTEMS[name]


def named_after(system: str, cloak: Cloak) -> Cloak:
    """A cloak that says whose it is; Glaze's own says nothing."""
    return replace(cloak, system=None if system == "glaze" else system)


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
        The cloak; its shift is 1 − J of the objective it was led by.

    Raises:
        ValueError: no such system.
    """
    chosen = system_called(system)
    cloak = optimize_cloak(
        images,
        {"styled": styled, "stranger": stranger, None: images}[chosen.goal],
        encoder,
        chosen.within(budget),
        chosen.aimed(settings),
        metric=metric if chosen.metric else None,
    )
    if not chosen.metric:
        seen = worst_perceptual(images.to(encoder.device), cloak.images, metric).tolist()
        pairs = zip(cloak.measures, seen, strict=True)
        cloak = replace(cloak, measures=tuple(replace(m, perceptual=p) for m, p in pairs))
    return named_after(system, cloak)
