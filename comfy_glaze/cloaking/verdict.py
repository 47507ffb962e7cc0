"""What a cloak is worth, in one sentence for the artist, and what to try where it is too little.

It is judged by the effect, the expected fall of the artist's style in what a model draws, where a
report has one; else by the shift, which says how far the features of one encoder moved and no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..images import LEVELS
from .budget import Budget
from .effect import Effect
from .quality import flat_regions
from .views import views_by_panel


@dataclass(frozen=True)
class Thresholds:
    """The smallest values of three levels; what lies below ``weak`` is ``none``."""

    weak: float
    fair: float
    good: float

    def level(self, value: float) -> str:
        """none, weak, fair or good."""
        for name in ("good", "fair", "weak"):
            if value >= getattr(self, name):
                return name
        return "none"


SHIFT = Thresholds(weak=0.3, fair=0.6, good=0.75)
"""``docs/small-world.md``, "How far is far enough": from .31, the smallest shift that was tried, to
.6 the share of drawings in the artist's style did not change by more than six models could show; at
.75 it fell from 82% to 25%."""

POISON_SHIFT = Thresholds(weak=0.3, fair=0.7, good=0.93)
"""``docs/small-world.md``, "Poison": a shift of .69 did nothing; at .93, where the features had
gone 74% of the way, 200 samples did nearly what 200 pictures of the destination do."""

EFFECT = Thresholds(weak=0.1, fair=0.25, good=0.5)
"""Shares of a model's drawings, 0 to 1.  Good: at least half of them fall out of the style.  A
tenth is what six models of the small world could hardly tell from nothing."""

CROPS_KEEP = 0.8
"""The share of the shift below which crops of full size are said to be guarded less."""

MOSTLY_FLAT = 0.5
"""The share of flat pixels above which a picture hides little of a cloak."""


@dataclass(frozen=True)
class Verdict:
    """What a cloak is worth.

    Attributes:
        level: none, weak, fair or good.
        sentence: why, for the artist.
        advice: what to try; ``try`` in the reports.
    """

    level: str
    sentence: str
    advice: str

    @property
    def is_enough(self) -> bool:
        """Whether it is fair or good."""
        return self.level in ("fair", "good")

    def as_json(self) -> dict[str, str]:
        """Under the report's keys."""
        return {"level": self.level, "sentence": self.sentence, "try": self.advice}


@dataclass(frozen=True)
class Crops:
    """Native crops of a picture that is cloaked without a look at them.

    Attributes:
        shift: in them.
        short_side: px; a version of the picture that is no larger is cloaked for its crops, too.
    """

    shift: float
    short_side: int


@torch.no_grad()
def flat_share(original: Tensor) -> float:
    """How much of a picture (1, 3, H, W) is flat colour, 0 to 1, seen as a whole at 512 px; of a
    strip, the mean of its panels."""
    wholes, _ = views_by_panel(*original.shape[-2:])
    shares = [flat_regions(view.of(original).cpu()).float().mean() for view in wholes]
    return float(torch.stack(shares).mean())


def judge(
    shift: float,
    effect: Effect | None = None,
    *,
    budget: Budget | None = None,
    flat: float = 0.0,
    crops: Crops | None = None,
    lossless: float | None = None,
    rehearsal: bool = False,
    poison: bool = False,
) -> Verdict:
    """Judge a cloak, or poison.

    Args:
        shift: of what the file holds.
        effect: expected fall of the artist's style in what a model draws; None where it is not
            known. It is not known of poison.
        budget: of the cloak, so that a larger one is named; None where it is not known.
        flat: from :func:`flat_share`.
        crops: of a picture that is too large for them to be guarded.
        lossless: the shift, or where there is an effect its value, before a lossy file took its
            part; None for a lossless file.
        rehearsal: whether the encoder belongs to no image generator.
        poison: Nightshade in the place of a cloak.
    """
    if effect is None:
        thresholds, value = POISON_SHIFT if poison else SHIFT, shift
        where = "on the rehearsal encoder" if rehearsal else "on this encoder alone"
        words = (_POISON if poison else _CLOAK)[thresholds.level(shift)]
        sentence = f"The shift is {shift:.2f} {where}: {words}."
    else:
        thresholds, value = EFFECT, effect.value
        sentence = _effect_sentence(effect, rehearsal)
    level = thresholds.level(value)
    if crops is not None and crops.shift < CROPS_KEEP * shift:
        sentence += (
            f" In crops of full size the shift is {crops.shift:.2f} in place of {shift:.2f}; a "
            f"version of at most {crops.short_side} px on its short side is cloaked for crops, too."
        )
    if lossless is not None and thresholds.level(lossless) != level:
        advice = "Try --format png: it keeps the whole cloak."
        return Verdict(level, sentence, advice)
    return Verdict(level, sentence, _advice(level, budget, flat, rehearsal, poison))


_CLOAK = {
    "none": "expect a model to learn the style as if there were no cloak",
    "weak": "in this project's tests, models learned the style all the same",
    "fair": "in this project's tests, models began to lose the style here, but kept much of it",
    "good": "in this project's tests, models drew mostly in other styles. That is no promise",
}
_POISON = {
    "none": "expect a model to learn as if there were no poison",
    "weak": "in this project's tests, such poison did nothing",
    "fair": "in this project's tests, 0.69 did nothing and 0.93 worked; none in between was tried",
    "good": "in this project's tests, 200 such pictures changed what a model drew. That is no "
    "promise",
}


def _effect_sentence(effect: Effect, rehearsal: bool) -> str:
    value, low, high = (round(100 * share) for share in (effect.value, effect.low, effect.high))
    if value < 1:
        return "No fewer of a model's drawings are expected in the artist's style."
    provided = "all works are cloaked like this"
    if rehearsal:
        provided = "a generator had this encoder, and all works were cloaked like this"
    return (
        f"If {provided}, expect {value} in 100 of a model's drawings to leave the artist's style "
        f"({low} to {high} with the artists that were tried), unless the mimic undoes the cloak."
    )


@dataclass(frozen=True)
class _Larger:
    """A budget to try next: its cap and limit, its words, and its options."""

    linf: float
    limit: float
    words: str
    options: str


_BUDGETS = (
    _Larger(22 / LEVELS, 0.09, "the preset default", "--preset default"),
    _Larger(32 / LEVELS, 0.20, "the preset strong", "--preset strong"),
    _Larger(32 / LEVELS, 0.20, "the preset strong with uniform", "--preset strong --uniform"),
)
_POISONS = (_Larger(32 / LEVELS, 0.20, "a cap of 32 levels", "--linf 32/255 --limit 0.2"),)
"""Each moved features farther than the one before (``docs/small-world.md``, and the presets in
``docs/real-art-world.md``)."""


def _larger(budget: Budget | None, poison: bool) -> _Larger | None:
    """The next budget that allows more than the picture's own."""
    known = _POISONS if poison else _BUDGETS
    if budget is None:
        return known[0]
    cap = 1.0 if budget.linf is None else budget.linf
    little = 1e-6
    for larger in known:
        more_cap, more_limit = larger.linf - cap, larger.limit - budget.limit
        even = poison or "--uniform" in larger.options
        if budget.sight is None and not even:
            continue  # what spares a part of the picture may reach less far
        wider = max(more_cap, more_limit) > little or (even and budget.sight is not None)
        if wider and min(more_cap, more_limit) >= -little:
            return larger
    return None


def _advice(
    level: str, budget: Budget | None, flat: float, rehearsal: bool, poison: bool = False
) -> str:
    words = []
    if level == "good" and not poison:
        words.append("Cloak your other works like this one: those left uncloaked weaken it.")
    elif level != "good":
        if flat > MOSTLY_FLAT:
            words.append("Most of this picture is flat colour, which hides little.")
        larger = _larger(budget, poison)
        if larger is None:
            words.append("No larger budget was tested.")
        else:
            words.append(f"Try {larger.words} ({larger.options}): it goes farther and shows more.")
    if rehearsal:
        words.append(
            "For a picture to publish, take a real checkpoint (--checkpoint NAME, or its VAE in a "
            "graph)."
        )
    return " ".join(words)
