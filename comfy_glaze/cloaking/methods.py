"""The ways to the optimum of Eq. 2: the published one, and faster ones.

``paper`` is Adam on the soft hinge, kept as the reference.  ``fast`` treats the perceptual limit as
a constraint and takes signed steps.  ``brief`` takes fewer and larger ones, for an encoder of full
size on a computer without a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..devices import fast_dtype
from .objectives import OBJECTIVES
from .problem import Problem
from .robustness import Robustness, seen_by_a_mimic
from .visibility import LIGHTNESS, colour_map, less_visible


@dataclass(frozen=True, eq=False)
class CloakStep:
    """What the progress callback receives after each step.

    Tensors stay on their device until they are looked at, so that a step waits for nobody.

    Attributes:
        step, steps: from 1 to steps; a strip's panels are counted together.
        feature_distance: (B,), the mean over views, relative to the untouched picture's; of several
            encoders the largest; of a strip the mean over the panels until now.
        perceptual: (B,), the metric's worst value over views, or zeros without a metric.
        preview: gives the images (B, 3, H, W) in [0, 1] as they are when it is called; of a strip
            the panel at work.
    """

    step: int
    steps: int
    feature_distance: Tensor
    perceptual: Tensor
    preview: Callable[[], Tensor]


OnStep = Callable[[CloakStep], None]


@dataclass(eq=False)
class Progress:
    """One run: its number of steps, and the latest values of every view for each step's report.

    Attributes:
        problem: a picture, or a panel of a strip.
        steps: for this problem.
        on_step: told of every step.
        panel: the number of the panel, from 0.
        earlier: what :attr:`distance` came to for the panels before.
        distances: for each encoder, J of each view (B,), as it was last seen.
        perceptual: the metric's value of each view (B,), likewise.
    """

    problem: Problem
    steps: int
    on_step: OnStep | None
    panel: int = 0
    earlier: Sequence[Tensor] = ()
    distances: list[list[Tensor]] = field(init=False)
    perceptual: list[Tensor] = field(init=False)
    passes: int = 0  # backward passes through Φ
    gradients: float = 0.0  # the same in units of one 512 × 512 picture

    def __post_init__(self) -> None:
        nothing = torch.zeros(self.problem.images.shape[0], device=self.problem.images.device)
        self.distances = [[nothing + 1 for _ in views] for views in self.problem.targets]
        self.perceptual = [nothing for _ in self.problem.targets[0]]

    def passed(self, encoder: int, view: int, distance: Tensor) -> None:
        self.distances[encoder][view] = distance.detach()
        self.passes += 1
        self.gradients += self.problem.targets[encoder][view].view.passes

    def over_views(self, encoder: int) -> Tensor:
        """J by one encoder, (B,), the weighted mean over views."""
        weighted = zip(self.problem.weights, self.distances[encoder], strict=True)
        return torch.stack([weight * distance for weight, distance in weighted]).sum(dim=0)

    @property
    def distance(self) -> Tensor:
        """J by the encoder that is led least, (B,)."""
        encoders = range(len(self.distances))
        return torch.stack([self.over_views(encoder) for encoder in encoders]).amax(dim=0)

    def measured(self, view: int, perceptual: Tensor) -> None:
        self.perceptual[view] = perceptual.detach()

    def report(self, step: int, delta: Tensor) -> None:
        if self.on_step is None:
            return
        self.on_step(
            CloakStep(
                self.panel * self.steps + step,
                self.problem.panels * self.steps,
                torch.stack([*self.earlier, self.distance]).mean(dim=0),
                torch.stack(self.perceptual).amax(dim=0),
                preview=lambda: (self.problem.images + delta).detach(),
            )
        )


def _paper(
    problem: Problem, progress: Progress, seed: int, robustness: Robustness | None
) -> Tensor:
    """Eq. 2 as published: Adam on the soft hinge, every view in every step.

    Differs: after each step δ is clamped to the L∞ cap (where one is set) and to the pixels' range,
    and the feature distance is divided by its initial value, which only rescales α.  The paper
    names neither α nor the learning rate, and leads one encoder; of several, each step passes all,
    and their distances are added in their shares.
    """
    alpha, limit = problem.budget.alpha, problem.budget.limit
    delta = torch.zeros_like(problem.images, requires_grad=True)
    if OBJECTIVES[problem.comparison.objective].flat:
        delta = problem.random_start(seed)
    adam = torch.optim.Adam([delta], lr=0.005)
    for step in range(1, progress.steps + 1):
        adam.zero_grad()
        for view, weight in enumerate(problem.weights):
            for encoder, share in enumerate(problem.shares):  # the graph of one at a time
                target = problem.targets[encoder][view]
                seen = problem.seen(delta, target)
                distance = problem.distance(seen, target)
                loss = share * distance
                if encoder == 0:
                    perceptual = problem.perceptual(seen, target)
                    loss = loss + alpha * (perceptual - limit).clamp_min(0)
                    progress.measured(view, perceptual)
                (weight * loss.sum()).backward()  # type: ignore[no-untyped-call]
                progress.passed(encoder, view, distance)
        adam.step()
        problem.project_(delta)
        progress.report(step, delta)
    return delta.detach()


# Of `fast`; docs/speed.md has the trials that chose them.
STEP, MOMENTUM = 0.4, 0.7  # the first step is a share of the cap


USUAL_TURNS = 16  # of the whole picture


METRIC_EVERY, AIM = 2, 0.9  # turns of a view; share of the limit


FIRST_MULTIPLIER, LARGEST_MULTIPLIER, GAIN = 0.25, 2.0, 0.35


LAGGING, MOST = 0.7, 1.5  # how much more encoders count that lag behind, and at most


FLOAT16_SCALE = 2.0**12
"""What the feature distance is multiplied by where Φ computes in float16.

Its gradient at one of the 16,384 features of a 512 px picture is about 1e-4, near the smallest
normal number of float16, 6e-5.  Only the gradient's direction counts, so it is not divided again.
"""


def _fast(problem: Problem, progress: Progress, seed: int, robustness: Robustness | None) -> Tensor:
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
    dtype = fast_dtype(problem.images.device)
    start = problem.random_start(seed)
    delta, finite = _descend(problem, progress, start, seed, robustness, dtype)
    if not bool(finite):  # half precision has overflowed somewhere
        delta, _ = _descend(problem, progress, start, seed, robustness, None)
    return delta


def _descend(
    problem: Problem,
    progress: Progress,
    start: Tensor,
    seed: int,
    robustness: Robustness | None,
    dtype: torch.dtype | None,
) -> tuple[Tensor, Tensor]:
    """The loop of :func:`_fast` from a first δ: δ, and whether all gradients were finite.

    Nothing in it waits for the device, and without a robustness nothing comes from the CPU, so that
    a device may be given all of it at once, as a graph.
    """
    images, limit = problem.images, problem.budget.limit
    wraps, ties = problem.comparison.wraps, problem.ties
    colour = colour_map(images, wraps) if problem.budget.sight else None
    # grey pictures have only lightness; and colour is what uploads take first
    lightness = 1.0 if robustness or ties.grey else LIGHTNESS
    scale = FLOAT16_SCALE if dtype is torch.float16 else 1.0
    delta = start.detach().clone().requires_grad_()
    encoders, views = len(problem.targets), len(problem.targets[0])
    momentum = torch.zeros_like(images)
    finite = torch.ones((), dtype=torch.bool, device=images.device)
    multipliers = [images.new_full((len(images), 1, 1, 1), FIRST_MULTIPLIER)] * views
    pulls: dict[int, Tensor] = {}  # the metric's unit gradient in each view, and when it is stale
    slopes: dict[int, Tensor] = {}  # of the encoders' first gradients
    turns = [0] * views
    # of two views without native tiles, each shows the whole picture
    first, keep = _pace(progress.steps if views < 3 else math.ceil(progress.steps / 2))
    metric_every = METRIC_EVERY
    if problem.panels > 1:
        first, keep = max(STEP, 2 * PANEL_WAY / (progress.steps + 1)), MOMENTUM
        metric_every = PANEL_METRIC_EVERY
    for step in range(1, progress.steps + 1):
        view = _turn(step, views)
        measured = turns[view] % metric_every == 0
        encoder = encoder_in_turn(turns[view], view, encoders)
        target = problem.targets[encoder][view]
        seen = problem.seen(delta, target, soft=not measured)
        point = seen.detach().requires_grad_()
        shown = seen_by_a_mimic(point, robustness, seed, step) if robustness else point
        distance = problem.distance(shown, target, dtype)
        direction, slope = _unit_gradient(scale * distance, point)
        finite = finite & direction.isfinite().all()
        progress.passed(encoder, view, distance)
        if encoders > 1:
            slopes.setdefault(encoder, slope)
            direction = direction * _weight(encoder, progress, slopes)
        if measured and problem.comparison.metric is not None:
            perceptual = problem.perceptual(point, target)
            pulls[view], _ = _unit_gradient(perceptual, point)
            excess = (perceptual.detach() / (AIM * limit) - 1).view(-1, 1, 1, 1)
            multipliers[view] = (multipliers[view] + GAIN * excess).clamp(0, LARGEST_MULTIPLIER)
            progress.measured(view, perceptual)
        if view in pulls:
            direction = direction + multipliers[view] * pulls[view]
        turns[view] += 1
        gradient = torch.autograd.grad(seen, delta, direction)[0]
        momentum = keep * momentum + ties.mean(gradient)
        remaining = 1 - (step - 1) / progress.steps
        with torch.no_grad():
            wanted = momentum if colour is None else less_visible(momentum, colour, lightness)
            typical = wanted.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-30)
            delta -= first * remaining * problem.cap * (wanted / typical).clamp(-1, 1)
            if colour is not None:
                delta.copy_(less_visible(delta, colour, lightness))
        problem.project_(delta)
        progress.report(step, delta)
    return delta.detach(), finite


def _unit_gradient(values: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of each image's value (B,), scaled to a mean absolute value of 1 per image; and
    the sum of its absolute values before, (B,)."""
    (gradient,) = torch.autograd.grad(values.sum(), point)
    unit = gradient / gradient.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-30)
    return unit, gradient.abs().sum(dim=(1, 2, 3))


def _pace(turns: int) -> tuple[float, float]:
    """The first step, in caps, and the momentum, for so many turns of the whole picture.

    Fewer steps than usual are larger, so that together they go as far, and soon forget the
    directions of those before, since each has changed the features by more.
    """
    larger = max(1.0, (USUAL_TURNS + 1) / (turns + 1))
    return STEP * larger, MOMENTUM / larger


def _turn(step: int, views: int) -> int:
    """Whose turn it is: the whole picture's (0), or at every second step a tile's."""
    if views == 1 or step % 2:
        return 0
    return 1 + (step // 2 - 1) % (views - 1)


PANEL_STEPS, PANEL_WAY, PANEL_METRIC_EVERY = 3, 1.4, 3
"""For each panel of a strip: how many steps, how far they go together, in caps, at least, and in
which turns the metric is taken."""


def encoder_in_turn(turn: int, view: int, encoders: int) -> int:
    """Whose turn it is among several encoders: each comes as often as the others to every view, and
    there as often to the turns in which the metric is taken as to those between."""
    between = turn % METRIC_EVERY * ((encoders + 1) // 2)
    return (turn // METRIC_EVERY + view + between) % encoders


def _weight(encoder: int, progress: Progress, slopes: dict[int, Tensor]) -> Tensor:
    """How much an encoder's turn counts, (B, 1, 1, 1): by its share, and more if the cloak has led
    it less far than the others.

    Some encoders are led further by any cloak than others, so how far each is led is taken in units
    of what the same change of all pixels along its first gradient would do, were it linear.

    Args:
        slopes: the sums of the absolute values of the encoders' first gradients, (B,) each.
    """
    shares = progress.problem.shares
    if len(slopes) < len(shares):
        return torch.full_like(slopes[encoder], len(shares) * shares[encoder]).view(-1, 1, 1, 1)
    led = torch.stack(
        [
            (1 - progress.over_views(other)).clamp_min(0) / slopes[other].clamp_min(1e-30)
            for other in range(len(shares))
        ]
    )
    lag = (led.mean(dim=0) / led[encoder].clamp_min(1e-30)) ** LAGGING
    return (len(shares) * shares[encoder] * lag.clamp(1 / MOST, MOST)).view(-1, 1, 1, 1)


def _fast_steps(problem: Problem) -> int:
    """Four turns for every native tile, and as many for the whole; fewer for a strip's panels.  For
    two encoders nearly half as many again, for four twice as many."""
    return _steps(problem, USUAL_TURNS, 8)


def _brief_steps(problem: Problem) -> int:
    """The same with one turn for every native tile, and as many for the whole."""
    return _steps(problem, 3, 2)


def _steps(problem: Problem, least: int, each_tile: int) -> int:
    tiles = len(problem.targets[0]) - 1
    steps = PANEL_STEPS if problem.panels > 1 else max(least, each_tile * tiles)
    return round(steps * math.pow(len(problem.targets), 0.52))


@dataclass(frozen=True)
class Method:
    """An optimiser of Eq. 2.

    Attributes:
        run: gives δ at the size of the problem's pictures, from a seed, against what mimics do.
        steps: how many steps it takes by itself.
        views: the short side, in views, of the largest pictures on which it runs; None for any.
    """

    run: Callable[[Problem, Progress, int, Robustness | None], Tensor]
    steps: Callable[[Problem], int]
    views: int | None


METHODS: dict[str, Method] = {
    "fast": Method(_fast, _fast_steps, views=2),
    "brief": Method(_fast, _brief_steps, views=2),
    "paper": Method(_paper, lambda problem: 500, views=None),
}
