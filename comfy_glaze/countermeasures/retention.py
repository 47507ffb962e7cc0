"""The shift that a cloak still has after a countermeasure.

For a countermeasure c it is s_c = 1 − d(Φ(c(cloaked)), Φ(styled)) / d(Φ(c(original)), Φ(styled)).
Both pictures go through c, so that what c by itself does to the features does not count.  The
retention is s_c / s.  If c moves pixels, as cropping does, the styled picture goes through c, too.
Of a cloak that was led by another objective than ``towards`` it is that objective's 1 − J, with
c(original) in the original's place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..cloaking.measures import feature_distance
from ..cloaking.objectives import OBJECTIVES
from ..cloaking.views import views_by_panel
from ..networks.encoders import Encoder
from . import COUNTERMEASURES, Case, apply_countermeasure
from .tools import Tools


@dataclass(frozen=True)
class Retention:
    """One row of the table.

    Attributes:
        case: the countermeasure and its amount.
        shifts: s_c, one for each seed (a single one if nothing is random).
        untouched: s, the shift without any countermeasure.
    """

    case: Case
    shifts: tuple[float, ...]
    untouched: float

    @property
    def shift(self) -> float:
        """s_c, the mean over seeds."""
        return sum(self.shifts) / len(self.shifts)

    @property
    def retention(self) -> float:
        """s_c / s, the mean over seeds; 0 if there was no shift to keep."""
        return self.shift / self.untouched if self.untouched > 0 else 0.0

    def as_json(self) -> dict[str, object]:
        return {
            "countermeasure": self.case.countermeasure,
            "amount": self.case.amount,
            "shift": self.shift,
            "worst_seed": min(self.shifts),
            "retention": self.retention,
        }


OnCase = Callable[[int, int, Case], None]


@torch.no_grad()
def measure_retention(
    original: Tensor,
    cloaks: Tensor,
    styled: Tensor,
    encoder: Encoder,
    cases: Sequence[Case],
    *,
    objective: str = "towards",
    seeds: Sequence[int] = (0, 1, 2),
    tools: Tools | None = None,
    on_case: OnCase | None = None,
) -> list[list[Retention]]:
    """The shift that cloaks of one picture keep under each case, in the order of the cases.

    The pictures are moved to the encoder's device first.  The countermeasures work on them at their
    full size.  The shift is then measured with the short side at 512 px at most, as a mimic would
    see the pictures, and a strip as its panels.

    Args:
        original, styled: images (1, 3, H, W) in [0, 1].
        cloaks: (N, 3, H, W) in [0, 1], N cloaked versions of the original.
        cases: see :func:`comfy_glaze.countermeasures.parse_cases`.
        objective: of the cloaks, a key of :data:`comfy_glaze.cloaking.objectives.OBJECTIVES`.
        seeds: for random countermeasures, one run each; the others run once.
        on_case: called before each case with its number, how many there are, and the case.

    Returns:
        For each cloak, one row for each case.

    Raises:
        CountermeasureError: a case that cannot run here.
    """
    pictures = torch.cat([each.to(encoder.device) for each in (cloaks, original, styled)])
    count = len(cloaks)

    wholes, _ = views_by_panel(*original.shape[-2:])

    led = OBJECTIVES[objective]

    def shifts_of(kept: Tensor) -> list[float]:
        distances = []
        for view in wholes:
            seen = (led.looks(encoder(view.of(picture[None]))) for picture in kept)
            *features, own, towards = seen
            goal, unit = led.goal(own, towards), led.unit(own, towards)
            apart = [feature_distance(one, goal) for one in features]
            apart.append(feature_distance(own, unit))
            distances.append(view.passes / wholes[0].passes * torch.cat(apart))
        *after, whole = torch.stack(distances).sum(dim=0)
        return [1 - float(led.value(one / whole)) for one in after]

    untouched = shifts_of(pictures)
    rows: list[list[Retention]] = [[] for _ in untouched]
    for number, case in enumerate(cases, start=1):
        if on_case is not None:
            on_case(number, len(cases), case)
        chosen = COUNTERMEASURES[case.countermeasure]
        changing = pictures if chosen.moves else pictures[: count + 1]
        of_seeds: list[list[float]] = []
        for seed in seeds if chosen.random else seeds[:1]:
            changed = apply_countermeasure(case.countermeasure, changing, case.amount, seed, tools)
            of_seeds.append(shifts_of(torch.cat([changed, pictures[len(changed) :]])))
        for own, shifts, whole in zip(rows, zip(*of_seeds, strict=True), untouched, strict=True):
            own.append(Retention(case, shifts, whole))
    return rows


def worst_first(rows: Sequence[Retention]) -> list[Retention]:
    """Rows in the order of the shift that is left, the least first."""
    return sorted(rows, key=lambda row: row.shift)
