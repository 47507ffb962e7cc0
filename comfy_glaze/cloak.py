"""The cloak: Eq. 2 of Glaze (Shan et al., USENIX Security 2023), and a faster way to its optimum.

    min over δ of  ‖Φ(Ω(x, T)) − Φ(x + δ)‖²  +  α · max(LPIPS(x, x + δ) − p, 0)

Two methods minimise it over the same views of the picture.  ``paper`` is the published one, kept as
the reference.  ``fast`` treats the perceptual limit as a constraint and takes signed steps.  The
result of either is brought inside the hard budget on the pixels that a file will hold.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .encoders import Encoder
from .images import LEVELS, to_grid
from .measures import Comparison, Measures, feature_distance
from .perceptual import PerceptualMetric, load_metric, resolve_metric


@dataclass(frozen=True, eq=False)
class Budget:
    """How much may change.

    Attributes:
        limit: p, the largest perceptual value, on the scale of ``metric``.
        linf: the largest change of a pixel value in [0, 1] units; None for no cap.
        metric: a name of :data:`comfy_glaze.perceptual.PERCEPTUAL_METRICS`, ``auto``, or ``none``
            for no perceptual limit at all.
        alpha: α of Eq. 2, relative to the feature distance divided by its initial value.
    """

    limit: float = 0.05
    linf: float | None = 6 / LEVELS
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


PRESETS: dict[str, Budget] = {
    "gallery": Budget(limit=0.03, linf=4 / LEVELS),
    "default": Budget(limit=0.05, linf=6 / LEVELS),
    "strong": Budget(limit=0.10, linf=10 / LEVELS),
}
"""Budgets as an artist would name them, chosen by looking at pictures (see the README)."""


@dataclass(frozen=True)
class CloakSettings:
    """How the optimisation runs.

    Attributes:
        method: a key of :data:`METHODS`.
        steps: 0 for the method's own number.
        seed: decides everything random; the same seed gives the same bytes on the same machine.
        robustness: ``none`` (the only one so far).
        preset: the name of the preset the budget came from, for the report.
    """

    method: str = "fast"
    steps: int = 0
    seed: int = 0
    robustness: str = "none"
    preset: str = "default"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(
                f"Expected a method among {', '.join(METHODS)}, but got {self.method}."
            )
        if self.steps < 0:
            raise ValueError(f"steps must be 0 (the method's own) or more, but got {self.steps}.")
        if self.robustness != "none":
            raise ValueError(f"Expected robustness none, but got {self.robustness}.")


@dataclass(frozen=True, eq=False)
class CloakStep:
    """What the progress callback receives after each step.

    Tensors stay on their device until they are looked at, so that a step waits for nobody.

    Attributes:
        step, steps: from 1 to steps.
        feature_distance: (B,), the mean over views, relative to the untouched picture's.
        perceptual: (B,), the metric's worst value over views, or zeros without a metric.
        preview: gives the images (B, 3, H, W) in [0, 1] as they are now.
    """

    step: int
    steps: int
    feature_distance: Tensor
    perceptual: Tensor
    preview: Callable[[], Tensor]


@dataclass(frozen=True, eq=False)
class Cloak:
    """Cloaked pictures and how they came about.

    Attributes:
        images: (B, 3, H, W) in [0, 1], on the 8-bit grid.
        measures: one per image, taken on ``images``.
        budget: with the metric's real name in place of ``auto``.
        settings: with the real number of steps.
        gradients: backward passes through Φ, in units of one 512 × 512 picture, per image.
        seconds: wall time of the whole optimisation, measures included.
    """

    images: Tensor
    measures: tuple[Measures, ...]
    budget: Budget
    settings: CloakSettings
    gradients: float
    seconds: float


OnStep = Callable[[CloakStep], None]


@dataclass(frozen=True, eq=False)
class _Problem:
    """One optimisation: Eq. 2 on every view, and the set that δ must stay in."""

    comparison: Comparison
    budget: Budget
    room_below: Tensor = field(repr=False)  # per pixel, how far δ may go down and up
    room_above: Tensor = field(repr=False)

    @property
    def images(self) -> Tensor:
        return self.comparison.original

    def backward(
        self, delta: Tensor, penalty: Callable[[Tensor], Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Accumulate the objective's gradient in ``delta.grad``, one view at a time.

        The objective is d / d₀ + penalty(perceptual value), where the whole picture counts as much
        as all native tiles together.  Without a penalty the metric is only looked at.

        Returns:
            The relative feature distance and the worst perceptual value, each (B,), detached.
        """
        targets = self.comparison.targets
        distance = torch.zeros(self.images.shape[0], device=delta.device)
        worst = torch.zeros_like(distance)
        for index, target in enumerate(targets):
            weight = _view_weight(index, len(targets))
            seen = target.view.of(self.images + delta)
            relative = (
                feature_distance(self.comparison.encoder(seen), target.styled) / target.before
            )
            loss = relative.sum()
            if self.comparison.metric and target.reference is not None:
                with torch.set_grad_enabled(penalty is not None):
                    value = self.comparison.metric.distance(target.reference, seen)
                    if penalty is not None:
                        loss = loss + penalty(value).sum()
                worst = torch.maximum(worst, value.detach())
            (weight * loss).backward()  # type: ignore[no-untyped-call]
            distance += weight * relative.detach()
        return distance, worst

    def project_(self, delta: Tensor) -> None:
        """Clamp δ in place to the L∞ cap, the pixels' range, and the pixels left alone."""
        with torch.no_grad():
            torch.maximum(torch.minimum(delta, self.room_above), self.room_below, out=delta.data)

    def random_start(self, seed: int) -> Tensor:
        """Half a grey level of noise: δ = 0 is a stationary point of every perceptual metric.

        Every picture of a batch starts alike, so that it is cloaked as it would be alone.
        """
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(1, *self.images.shape[1:], generator=generator) - 0.5
        delta = (noise / LEVELS).to(self.images.device).expand_as(self.images).clone()
        self.project_(delta)
        return delta.requires_grad_()


def _view_weight(index: int, count: int) -> float:
    if count == 1:
        return 1.0
    return 0.5 if index == 0 else 0.5 / (count - 1)


def _paper(problem: _Problem, settings: CloakSettings, on_step: OnStep | None) -> Tensor:
    """Eq. 2 as published: Adam on the soft hinge.

    Differs: after each step δ is clamped to the L∞ cap (where one is set) and to the pixels' range,
    and the feature distance is divided by its initial value, which only rescales α.  The paper
    names neither α nor the learning rate.
    """
    alpha, limit = problem.budget.alpha, problem.budget.limit
    delta = torch.zeros_like(problem.images, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=0.005)
    for step in range(1, settings.steps + 1):
        adam.zero_grad()
        distance, perceptual = problem.backward(
            delta, penalty=lambda value: alpha * (value - limit).clamp_min(0)
        )
        adam.step()
        problem.project_(delta)
        _report(on_step, step, settings.steps, distance, perceptual, problem, delta)
    return delta.detach()


def _fast(problem: _Problem, settings: CloakSettings, on_step: OnStep | None) -> Tensor:
    """Sign descent with momentum and a falling step; the limit is held by a dual variable.

    λ ≥ 0 grows while the perceptual value exceeds its limit and falls while it does not (dual
    ascent on the Lagrangian d / d₀ + λ · (perceptual / p − 1)).  As long as λ is zero, the metric
    needs no backward pass.
    """
    limit = problem.budget.limit
    step_size = 0.35 * (problem.budget.linf or 16 / LEVELS)
    delta = problem.random_start(settings.seed)
    momentum = torch.zeros_like(problem.images)
    multiplier = torch.zeros(problem.images.shape[0], device=delta.device)
    for step in range(1, settings.steps + 1):
        delta.grad = None
        binding = bool((multiplier > 0).any())
        distance, perceptual = problem.backward(
            delta,
            penalty=(lambda value: multiplier * value / limit) if binding else None,  # noqa: B023
        )
        assert delta.grad is not None
        scale = delta.grad.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-30)
        momentum = 0.9 * momentum + delta.grad / scale
        remaining = 1 - (step - 1) / settings.steps
        with torch.no_grad():
            delta -= step_size * remaining * momentum.sign()
        problem.project_(delta)
        multiplier = (multiplier + 0.5 * (perceptual / limit - 1)).clamp_min(0)
        _report(on_step, step, settings.steps, distance, perceptual, problem, delta)
    return delta.detach()


@dataclass(frozen=True)
class Method:
    """An optimiser of Eq. 2 and the number of steps it takes by itself."""

    run: Callable[[_Problem, CloakSettings, OnStep | None], Tensor]
    steps: int


METHODS: dict[str, Method] = {"fast": Method(_fast, 40), "paper": Method(_paper, 500)}


def _report(
    on_step: OnStep | None,
    step: int,
    steps: int,
    distance: Tensor,
    perceptual: Tensor,
    problem: _Problem,
    delta: Tensor,
) -> None:
    if on_step is not None:
        on_step(
            CloakStep(step, steps, distance, perceptual, lambda: (problem.images + delta).detach())
        )


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

    Args:
        images: the originals (B, 3, H, W) in [0, 1].
        styled: Ω(images, T), same shape and range.
        encoder: Φ; everything runs on its device.
        budget: how much may change; holds on the returned pixels.
        settings: method, steps, seed.
        on_step: called after each step; an exception it raises ends the optimisation.
        keep_clear: (B or 1, 1, H, W), above 0.5 where pixels must not change.
        metric: the budget's metric if it is loaded already.

    Raises:
        ValueError: wrong shapes or ranges, or nowhere to move (see :meth:`Comparison.of`).
        MetricError: the budget's metric is not on this machine.
    """
    started = time.perf_counter()
    method = METHODS[settings.method]
    settings = replace(settings, steps=settings.steps or method.steps)
    budget = replace(budget, metric=resolve_metric(budget.metric))
    if metric is None and budget.metric != "none":
        metric = load_metric(budget.metric, encoder.device)
    images = images.to(encoder.device)
    comparison = Comparison.of(images, styled.to(encoder.device), encoder, metric)
    problem = _Problem(comparison, budget, *_room(images, budget.linf, keep_clear))
    with torch.enable_grad():
        delta = method.run(problem, settings, on_step)
    cloaked = _inside_budget(problem, delta)
    passes = sum(target.view.passes for target in comparison.targets)
    return Cloak(
        images=cloaked,
        measures=comparison.measure(cloaked),
        budget=budget,
        settings=settings,
        gradients=settings.steps * passes,
        seconds=time.perf_counter() - started,
    )


def _room(images: Tensor, linf: float | None, keep_clear: Tensor | None) -> tuple[Tensor, Tensor]:
    """How far each pixel may go down and up, (B, 3, H, W) each.

    Both ends lie on the 8-bit grid, so that rounding x + δ to the grid cannot leave the cap.
    """
    cap = 1.0 if linf is None else linf
    tolerance = 1e-4  # of a grey level: float32 noise around exact grid values
    low = ((images - cap) * LEVELS - tolerance).ceil().clamp(0, LEVELS) / LEVELS
    high = ((images + cap) * LEVELS + tolerance).floor().clamp(0, LEVELS) / LEVELS
    below, above = low - images, high - images
    if keep_clear is not None:
        if keep_clear.shape[-2:] != images.shape[-2:]:
            raise ValueError(
                f"keep_clear must be as large as the images, {tuple(images.shape[-2:])}, "
                f"but it is {tuple(keep_clear.shape[-2:])}."
            )
        free = (keep_clear <= 0.5).to(images)
        below, above = below * free, above * free
    return below, above


def _inside_budget(problem: _Problem, delta: Tensor, halvings: int = 8) -> Tensor:
    """x + s·δ on the 8-bit grid with the largest s ≤ 1 whose perceptual value is in the limit.

    s is found per image by bisection on the rounded pixels; s = 0, the original, always passes.
    """
    limit = problem.budget.limit
    may_change = problem.room_above > problem.room_below

    def cloaked_at(scale: Tensor) -> Tensor:
        scaled = to_grid(problem.images + scale.view(-1, 1, 1, 1) * delta)
        return torch.where(may_change, scaled, problem.images)

    fits = torch.ones(delta.shape[0], device=delta.device)
    cloaked = cloaked_at(fits)
    inside = problem.comparison.perceptual(cloaked) <= limit
    if bool(inside.all()):
        return cloaked
    fits, fails = inside.to(delta), torch.ones_like(fits)
    for _ in range(halvings):
        middle = torch.where(inside, fits, (fits + fails) / 2)
        passes = problem.comparison.perceptual(cloaked_at(middle)) <= limit
        fits, fails = torch.where(passes, middle, fits), torch.where(passes, fails, middle)
    return cloaked_at(fits)
