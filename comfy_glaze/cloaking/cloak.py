"""The cloak: Eq. 2 of Glaze (Shan et al., USENIX Security 2023), and a faster way to its optimum.

    min over δ of  ‖Φ(Ω(x, T)) − Φ(x + δ)‖²  +  α · max(LPIPS(x, x + δ) − p, 0)

Two methods minimise it over the same views of the picture.  ``paper`` is the published one, kept as
the reference.  ``fast`` treats the perceptual limit as a constraint and takes signed steps.  The
result of either is brought inside the hard budget on the pixels that a file will hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..devices import give_back_memory
from ..networks.encoders import Encoder
from ..networks.perceptual import PerceptualMetric, load_metric
from .budget import Budget, Room, largest_inside
from .measures import Comparison, Measures
from .problem import Problem
from .robustness import ROBUSTNESS, STEPS, seen_by_a_mimic
from .visibility import LIGHTNESS, colour_map, less_visible


@dataclass(frozen=True)
class CloakSettings:
    """How the optimisation runs.

    Attributes:
        method: a key of :data:`METHODS`.
        steps: 0 for the method's own number.
        seed: decides everything random; the same seed gives the same bytes on the same CPU.
        robustness: a key of :data:`comfy_glaze.cloaking.robustness.ROBUSTNESS`.
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
        if self.robustness not in ROBUSTNESS:
            raise ValueError(
                f"Expected a robustness among {', '.join(ROBUSTNESS)}, but got {self.robustness}."
            )


@dataclass(frozen=True, eq=False)
class CloakStep:
    """What the progress callback receives after each step.

    Tensors stay on their device until they are looked at, so that a step waits for nobody.

    Attributes:
        step, steps: from 1 to steps.
        feature_distance: (B,), the mean over views, relative to the untouched picture's.
        perceptual: (B,), the metric's worst value over views, or zeros without a metric.
        preview: gives the images (B, 3, H, W) in [0, 1] as they are when it is called.
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
        images: (B, 3, H, W) in [0, 1], on the 8-bit grid (pixels kept clear stay as they were).
        measures: one per image, taken on ``images``.
        budget: with the metric's real name in place of ``auto``.
        settings: with the real number of steps.
        gradients: backward passes through Φ, in units of one 512 × 512 picture, per image.
        seconds: wall time of the whole optimisation, measures included.
        passes: backward passes through Φ, whatever their size.
        objective: a key of :data:`comfy_glaze.cloaking.objectives.OBJECTIVES`, which the shift is
            of.
        system: whose cloak it is (see :mod:`comfy_glaze.cloaking.systems`); None for Glaze's own.
    """

    images: Tensor
    measures: tuple[Measures, ...]
    budget: Budget
    settings: CloakSettings
    gradients: float
    seconds: float
    passes: int = 0
    objective: str = "towards"
    system: str | None = None


OnStep = Callable[[CloakStep], None]


@dataclass(eq=False)
class _Progress:
    """The latest values of every view, from which each step's report is made."""

    problem: Problem
    steps: int
    on_step: OnStep | None
    distances: list[Tensor] = field(init=False)
    perceptual: list[Tensor] = field(init=False)
    passes: int = 0  # backward passes through Φ
    gradients: float = 0.0  # the same in units of one 512 × 512 picture

    def __post_init__(self) -> None:
        nothing = torch.zeros(self.problem.images.shape[0], device=self.problem.images.device)
        self.distances = [nothing + 1 for _ in self.problem.targets]
        self.perceptual = [nothing for _ in self.problem.targets]

    def passed(self, view: int, distance: Tensor) -> None:
        self.distances[view] = distance.detach()
        self.passes += 1
        self.gradients += self.problem.targets[view].view.passes

    def measured(self, view: int, perceptual: Tensor) -> None:
        self.perceptual[view] = perceptual.detach()

    def report(self, step: int, delta: Tensor) -> None:
        if self.on_step is None:
            return
        weighted = zip(self.problem.weights, self.distances, strict=True)
        self.on_step(
            CloakStep(
                step,
                self.steps,
                torch.stack([weight * distance for weight, distance in weighted]).sum(dim=0),
                torch.stack(self.perceptual).amax(dim=0),
                preview=lambda: (self.problem.images + delta).detach(),
            )
        )


def _paper(problem: Problem, settings: CloakSettings, progress: _Progress) -> Tensor:
    """Eq. 2 as published: Adam on the soft hinge, every view in every step.

    Differs: after each step δ is clamped to the L∞ cap (where one is set) and to the pixels' range,
    and the feature distance is divided by its initial value, which only rescales α.  The paper
    names neither α nor the learning rate.
    """
    alpha, limit = problem.budget.alpha, problem.budget.limit
    delta = torch.zeros_like(problem.images, requires_grad=True)
    if problem.comparison.objective == "away":  # whose gradient is zero at δ = 0
        delta = problem.random_start(settings.seed)
    adam = torch.optim.Adam([delta], lr=0.005)
    for step in range(1, settings.steps + 1):
        adam.zero_grad()
        for view, (target, weight) in enumerate(zip(problem.targets, problem.weights, strict=True)):
            seen = problem.seen(delta, target)
            distance = problem.distance(seen, target)
            perceptual = problem.perceptual(seen, target)
            loss = distance + alpha * (perceptual - limit).clamp_min(0)
            (weight * loss.sum()).backward()  # type: ignore[no-untyped-call]
            progress.passed(view, distance)
            progress.measured(view, perceptual)
        adam.step()
        problem.project_(delta)
        progress.report(step, delta)
    return delta.detach()


# Of `fast`; docs/speed.md has the trials that chose them.
STEP, MOMENTUM = 0.4, 0.7  # the first step is a share of the cap
METRIC_EVERY, AIM = 2, 0.9  # turns of a view; share of the limit
FIRST_MULTIPLIER, LARGEST_MULTIPLIER, GAIN = 0.25, 2.0, 0.35


def _fast(problem: Problem, settings: CloakSettings, progress: _Progress) -> Tensor:
    """Sign descent with momentum and a falling step, on one view a step.

    The whole picture and the tiles take turns, so that a step passes the same number of pixels
    through Φ for every size of picture; every other turn of the whole scales it down by the softer
    kernel, because a mimic may use either.  The perceptual limit is a constraint with a
    multiplier λ ≥ 0 for each view, which grows while the limit is exceeded and falls while it is
    not.  Both gradients are scaled to unit mean size before they are added: a little of the
    metric's, long before the limit is reached, turns δ into directions that the metric hardly sees,
    at almost no cost in shift.  The metric's is taken at every second turn of a view and serves
    twice; the multiplier aims a little below the limit, because a δ that must be scaled back loses
    a whole grey level to rounding.
    """
    delta, finite = _descend(problem, settings, progress, fast_dtype(problem.images.device))
    if not bool(finite):  # half precision has overflowed somewhere
        delta, _ = _descend(problem, settings, progress, None)
    return delta


def fast_dtype(device: torch.device) -> torch.dtype | None:
    """What Φ computes in where the device is faster with it than with float32; else None."""
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _descend(
    problem: Problem, settings: CloakSettings, progress: _Progress, dtype: torch.dtype | None
) -> tuple[Tensor, Tensor]:
    """The loop of :func:`_fast`: δ, and whether all gradients were finite.

    Nothing in it waits for the device.
    """
    images, limit = problem.images, problem.budget.limit
    robustness = ROBUSTNESS[settings.robustness]
    colour = colour_map(images) if problem.budget.sight else None
    lightness = 1.0 if robustness else LIGHTNESS  # colour is what uploads take first
    delta = problem.random_start(settings.seed)
    momentum = torch.zeros_like(images)
    finite = torch.ones((), dtype=torch.bool, device=images.device)
    multipliers = [images.new_full((len(images), 1, 1, 1), FIRST_MULTIPLIER)] * len(problem.targets)
    pulls: dict[int, Tensor] = {}  # the metric's unit gradient in each view, and when it is stale
    turns = [0] * len(problem.targets)
    for step in range(1, settings.steps + 1):
        view = _turn(step, len(problem.targets))
        target = problem.targets[view]
        measured = turns[view] % METRIC_EVERY == 0
        seen = problem.seen(delta, target, soft=not measured)
        point = seen.detach().requires_grad_()
        shown = seen_by_a_mimic(point, robustness, settings.seed, step) if robustness else point
        distance = problem.distance(shown, target, dtype)
        direction = _unit_gradient(distance, point)
        finite = finite & direction.isfinite().all()
        if measured and problem.comparison.metric is not None:
            perceptual = problem.perceptual(point, target)
            pulls[view] = _unit_gradient(perceptual, point)
            excess = (perceptual.detach() / (AIM * limit) - 1).view(-1, 1, 1, 1)
            multipliers[view] = (multipliers[view] + GAIN * excess).clamp(0, LARGEST_MULTIPLIER)
            progress.measured(view, perceptual)
        if view in pulls:
            direction = direction + multipliers[view] * pulls[view]
        turns[view] += 1
        momentum = MOMENTUM * momentum + torch.autograd.grad(seen, delta, direction)[0]
        remaining = 1 - (step - 1) / settings.steps
        with torch.no_grad():
            wanted = momentum if colour is None else less_visible(momentum, colour, lightness)
            typical = wanted.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-30)
            delta -= STEP * remaining * problem.cap * (wanted / typical).clamp(-1, 1)
            if colour is not None:
                delta.copy_(less_visible(delta, colour, lightness))
        problem.project_(delta)
        progress.passed(view, distance)
        progress.report(step, delta)
    return delta.detach(), finite


def _unit_gradient(values: Tensor, point: Tensor) -> Tensor:
    """The gradient of each image's value (B,), scaled to a mean absolute value of 1 per image."""
    (gradient,) = torch.autograd.grad(values.sum(), point)
    return gradient / gradient.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-30)


def _turn(step: int, views: int) -> int:
    """Whose turn it is: the whole picture's (0), or at every second step a tile's."""
    if views == 1 or step % 2:
        return 0
    return 1 + (step // 2 - 1) % (views - 1)


def _fast_steps(problem: Problem) -> int:
    """Four turns for every native tile, and as many for the whole."""
    tiles = len(problem.targets) - 1
    return 8 * tiles if tiles else 16


@dataclass(frozen=True)
class Method:
    """An optimiser of Eq. 2.

    Attributes:
        run: gives δ, at the size of the problem's pictures.
        steps: how many steps it takes by itself.
        views: the short side, in views, of the largest pictures on which it runs; None for any.
    """

    run: Callable[[Problem, CloakSettings, _Progress], Tensor]
    steps: Callable[[Problem], int]
    views: int | None


METHODS: dict[str, Method] = {
    "fast": Method(_fast, _fast_steps, views=2),
    "paper": Method(_paper, lambda problem: 500, views=None),
}


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
    objective: str = "towards",
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
        objective: a key of :data:`comfy_glaze.cloaking.objectives.OBJECTIVES`; those that look at
            no styled picture take ``images`` in its place.

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
    comparison = Comparison.of(images, styled, encoder, metric, objective)
    robust = settings.robustness != "none"
    sight = budget.sight.for_coarse_changes() if budget.sight and robust else budget.sight
    room = Room.of(images, replace(budget, sight=sight), keep_clear)
    room.check()
    problem = Problem.of(comparison, room, budget, method.views)
    steps = settings.steps or method.steps(problem) * (STEPS if robust else 1)
    settings = replace(settings, steps=steps)
    progress = _Progress(problem, steps, on_step)
    give_back_memory()
    delta = method.run(problem, settings, progress)
    del problem
    give_back_memory()  # a large picture needs it for the pixels
    cloaked, perceptual = largest_inside(comparison, room, delta, budget.limit)
    measures = comparison.measure(cloaked, perceptual)
    give_back_memory()
    return Cloak(
        images=cloaked,
        measures=measures,
        budget=budget,
        settings=settings,
        gradients=progress.gradients,
        seconds=time.perf_counter() - started,
        passes=progress.passes,
        objective=objective,
    )


def _usable(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device, and outside inference mode: what it made cannot take part in gradients."""
    tensor = tensor.to(device)
    return tensor.clone() if tensor.is_inference() else tensor
