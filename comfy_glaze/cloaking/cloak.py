"""The cloak: Eq. 2 of Glaze (Shan et al., USENIX Security 2023), and a faster way to its optimum.

    min over δ of  ‖Φ(Ω(x, T)) − Φ(x + δ)‖²  +  α · max(LPIPS(x, x + δ) − p, 0)

A method of :mod:`comfy_glaze.cloaking.methods` minimises it over the views of a picture, and the
result is brought inside the hard budget on the pixels that a file will hold.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..devices import give_back_memory
from ..images import resize
from ..networks.encoders import Encoder
from ..networks.perceptual import PerceptualMetric, load_metric
from .budget import Budget
from .measures import Comparison, Measures
from .methods import METHODS, OnStep, Progress
from .objectives import OBJECTIVES
from .problem import Problem
from .robustness import ROBUSTNESS, STEPS
from .room import Room, largest_inside
from .ties import Ties

FEW_COLOURS = ("keep", "free", "leave")
"""What may be done with pictures in few colours; ``leave`` is for the portfolio to obey."""


@dataclass(frozen=True)
class CloakSettings:
    """How the optimisation runs.

    Attributes:
        method: a key of :data:`METHODS`.
        steps: 0 for the method's own number; on each panel of a strip.
        seed: decides everything random; the same seed gives the same bytes on the same CPU.
        robustness: a key of :data:`comfy_glaze.cloaking.robustness.ROBUSTNESS`.
        objective: a key of :data:`comfy_glaze.cloaking.objectives.OBJECTIVES`; those that look at
            no styled picture take the original in its place.
        tile: whether the pictures repeat, so that each edge meets the opposite one.  Then views and
            δ wrap around; a strip's do not.
        few_colours: one of :data:`FEW_COLOURS`: whether pixel art changes by whole blocks and
            pictures in few colours keep a palette, or change freely, or are not cloaked at all.
    """

    method: str = "fast"
    steps: int = 0
    seed: int = 0
    robustness: str = "none"
    objective: str = "towards"
    tile: bool = False
    few_colours: str = "keep"

    def __post_init__(self) -> None:
        for name, known in (
            ("method", METHODS),
            ("robustness", ROBUSTNESS),
            ("objective", OBJECTIVES),
            ("few_colours", FEW_COLOURS),
        ):
            if (chosen := getattr(self, name)) not in known:
                raise ValueError(f"Expected a {name} among {', '.join(known)}, but got {chosen}.")
        if self.method == "paper" and self.robustness != "none":
            raise ValueError(
                "The method paper is the published one, which knows no robustness; take the method "
                f"fast, or the robustness none in place of {self.robustness}."
            )
        if self.steps < 0:
            raise ValueError(f"steps must be 0 (the method's own) or more, but got {self.steps}.")


@dataclass(frozen=True, eq=False)
class Cloak:
    """Cloaked pictures and how they came about.

    Attributes:
        images: (B, 3, H, W) in [0, 1], on the 8-bit grid (pixels kept clear stay as they were);
            held as levels if the originals were.
        measures: one per image, taken on ``images``.
        budget: with the metric's real name in place of ``auto``.
        settings: with the real number of steps.
        gradients: backward passes through Φ, in units of one 512 × 512 picture, per image.
        seconds: wall time of the whole optimisation, measures included.
        passes: backward passes through Φ, whatever their size.
        system: whose cloak it is (see :mod:`comfy_glaze.cloaking.systems`); None for Glaze's own.
    """

    images: Tensor
    measures: tuple[Measures, ...]
    budget: Budget
    settings: CloakSettings
    gradients: float
    seconds: float
    passes: int = 0
    system: str | None = None


@torch.inference_mode(False)
@torch.enable_grad()
def optimize_cloak(
    images: Tensor,
    styled: Tensor,
    encoder: Encoder,
    budget: Budget,
    settings: CloakSettings,
    on_step: OnStep | None = None,
    *,
    keep_clear: Tensor | None = None,
    metric: PerceptualMetric | None = None,
) -> Cloak:
    """Cloak pictures: move Φ(images + δ) towards Φ(styled) inside the budget.

    A strip is cut into panels (see :func:`comfy_glaze.images.panels_of`), and each is cloaked as a
    picture of its own, so that memory and time do not grow with the shape.

    Args:
        images: the originals (B, 3, H, W) in [0, 1], or held as levels.
        styled: Ω(images, T), same shape and range.
        encoder: Φ; everything runs on its device.
        budget: how much may change; holds on the returned pixels.
        settings: how; the objectives that look at no styled picture take ``images`` in its place.
        on_step: called after each step; an exception it raises ends the optimisation.
        keep_clear: (B or 1, 1, H, W), above 0.5 where pixels must not change.
        metric: the budget's metric if it is loaded already.

    Raises:
        ValueError: wrong shapes or ranges, or nowhere to move (see :meth:`Comparison.of`).
        MetricError: the budget's metric is not on this machine.
    """
    started = time.perf_counter()
    method = METHODS[settings.method]
    if metric is None and budget.metric != "none":
        metric = load_metric(budget.metric, encoder.device)
    budget = replace(budget, metric=metric.name if metric else "none")
    images, styled = (_usable(picture, encoder.device) for picture in (images, styled))
    if keep_clear is not None:
        keep_clear = _usable(keep_clear, encoder.device)
    comparison = Comparison.of(images, styled, encoder, metric, settings.objective, settings.tile)
    robust = settings.robustness != "none"
    sight = budget.sight.for_coarse_changes() if budget.sight and robust else budget.sight
    ties = Ties.of(images, with_blocks=settings.few_colours != "free")
    room = Room.of(images, replace(budget, sight=sight), keep_clear, settings.tile, ties)
    room.check()
    panels = comparison.panels
    cloaked = images if len(panels) == 1 else images.clone()
    perceptual = torch.zeros(len(images), device=encoder.device)
    led: list[Tensor] = []  # each panel, at its last step
    gradients, passes, steps = 0.0, 0, settings.steps
    for number, panel in enumerate(panels):
        part, part_room = comparison.within(panel), room.within(panel)
        if len(panels) > 1 and not bool((part.has_direction() & part_room.free()).any()):
            continue  # an empty panel
        problem = Problem.of(part, part_room, budget, method.views, len(panels))
        steps = settings.steps or method.steps(problem) * (STEPS if robust else 1)
        progress = Progress(problem, steps, on_step, number, tuple(led))
        give_back_memory()
        delta = method.run(problem, progress, settings.seed, ROBUSTNESS[settings.robustness])
        gradients, passes = gradients + progress.gradients, passes + progress.passes
        led.append(progress.distance)
        del problem, progress
        if part_room.ties.has_blocks and delta.shape != part_room.images.shape:
            delta = part_room.ties.mean(resize(delta, *part_room.images.shape[-2:]))
        give_back_memory()  # a large picture needs it for the pixels
        made, worst = largest_inside(part, part_room, delta, budget.limit)
        perceptual = torch.maximum(perceptual, worst)
        if len(panels) == 1:
            cloaked = made
        else:
            panel.cut(cloaked).copy_(made)
    measures = comparison.measure(cloaked, perceptual)
    give_back_memory()
    return Cloak(
        images=cloaked,
        measures=measures,
        budget=budget,
        settings=replace(settings, steps=steps),
        gradients=gradients,
        seconds=time.perf_counter() - started,
        passes=passes,
    )


def _usable(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device, and outside inference mode: what it made cannot take part in gradients."""
    tensor = tensor.to(device)
    return tensor.clone() if tensor.is_inference() else tensor
