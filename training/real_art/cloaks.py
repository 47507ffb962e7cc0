"""The cloaked works of an artist: made once for each kind of cloak, kept as files with measures."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from comfy_glaze.cloaking.budget import PRESETS, Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.cloaking.comparison import Comparison
from comfy_glaze.cloaking.measures import feature_distance
from comfy_glaze.cloaking.objectives import OBJECTIVES
from comfy_glaze.cloaking.quality import measure_quality
from comfy_glaze.cloaking.room import Room, largest_inside
from comfy_glaze.cloaking.visibility import Sight
from comfy_glaze.files.atomic import atomic_write, write_json
from comfy_glaze.images import LEVELS
from comfy_glaze.networks.perceptual import PerceptualMetric
from comfy_glaze.styles.bank import Style, builtin_styles
from comfy_glaze.styles.transfer import StyleTransfer

from .autoencoder import quick
from .loaders import area
from .objectives import FEATURES, Networks, encoder_of
from .pictures import Piece, load_square
from .world import SIDE, TRAINED

EARLIER = {
    "earlier gallery": Budget(limit=0.05, linf=8 / LEVELS, sight=Sight(0.65, 0.82)),
    "earlier default": Budget(limit=0.10, linf=11 / LEVELS, sight=Sight(1.4, 0.75)),
    "earlier strong": Budget(limit=0.20, linf=22 / LEVELS, sight=Sight(1.4, 1.5)),
}
"""The presets as they were when the first four rounds were drawn.  Today's ``default`` has the
numbers of the earlier ``strong`` with a lower limit, which binds few pictures as small as here."""

EVEN = {
    "even 4": Budget(limit=0.03, linf=4 / LEVELS),
    "even 8": Budget(limit=0.05, linf=8 / LEVELS),
    "even 16": Budget(limit=0.1, linf=16 / LEVELS),
    "even 32": Budget(limit=0.2, linf=32 / LEVELS),
}
"""The same cap everywhere, as in the small world, beside the presets."""

MASKED = {
    "masked 16": Budget(limit=0.15, linf=16 / LEVELS, sight=Sight(1.4, 1.0)),
    "masked 32": Budget(limit=0.3, linf=32 / LEVELS, sight=Sight(1.4, 2.5)),
    "ground 22": Budget(limit=0.2, linf=22 / LEVELS, sight=Sight(2.1, 0.75)),
}
"""Beside the earlier ``strong``: even ground as it has it, and more room where texture hides it; or
more room on even ground, and less in texture."""

BUDGETS: dict[str, Budget] = {**PRESETS, **EARLIER, **EVEN, **MASKED}

TARGETS = ("Pastel stained glass", "Blue woodblock print", "Sepia chalk", "Ochre engraving")
"""Styles that works are led towards; each artist has one of them, by name."""


@dataclass(frozen=True)
class Kind:
    """A kind of cloak.

    Attributes:
        features: a key of :data:`objectives.FEATURES`; :data:`NOISE` for a change at random.
        budget: a key of :data:`BUDGETS`.
        lead: a key of :data:`LEADS`.
    """

    features: str
    budget: str
    lead: str = "towards"

    @property
    def slug(self) -> str:
        """For file names."""
        return f"{self.lead} {self.features} {self.budget}".replace(" ", "-")


NOISE = "noise"
"""Signs drawn at random for squares of 2 × 2 pixels: what a budget does without an aim."""

LEADS = ("towards", "beyond", "away", "pattern", "tiles", "drawn")
"""Towards the redrawn work, beyond it, away from the work itself, or towards one pattern for all
works, as Mist leads them (Liang & Wu, 2023): one large one, or one that repeats, so that it is the
same wherever a trainer crops, or that one drawn in the artist's target style."""


def kind_called(name: str) -> Kind:
    """A kind from "[LEAD] FEATURES/BUDGET"; without a lead it is towards.

    Raises:
        ValueError: there is no such kind.
    """
    features, _, budget = name.partition("/")
    lead, _, rest = features.partition(" ")
    if lead not in LEADS:
        lead, rest = "towards", features
    if rest not in (*FEATURES, NOISE) or budget not in BUDGETS:
        raise ValueError(
            f"Expected [{'|'.join(LEADS)}] FEATURES/BUDGET with features among "
            f"{', '.join((*FEATURES, NOISE))} and a budget among {', '.join(BUDGETS)}, "
            f"but got {name}."
        )
    return Kind(rest, budget, lead)


def pattern(side: int) -> Tensor:
    """Black rings and spokes on white (1, 3, side, side), hard-edged, of many sizes."""
    places = torch.linspace(-1, 1, side)
    down, across = torch.meshgrid(places, places, indexing="ij")
    radius, angle = torch.hypot(down, across), torch.atan2(down, across)
    waves = torch.sin(24 * torch.log(radius + 0.05)) * torch.sin(12 * angle)
    return (waves > 0).float().expand(1, 3, side, side)


def tiles(side: int) -> Tensor:
    """The pattern, four times in each direction."""
    return pattern(side // 4).repeat(1, 1, 4, 4)


@dataclass(frozen=True, eq=False)
class Cloaker:
    """What makes cloaks, loaded once.

    Attributes:
        folder: where cloaked works are kept.
        networks: Φ and D, and the generator.
        redraw: Ω.
        metric: the perceptual one of the budgets.
    """

    folder: Path
    networks: Networks
    redraw: StyleTransfer
    metric: PerceptualMetric

    def cloaked(self, piece: Piece, kind: Kind, side: int = SIDE) -> tuple[Tensor, dict[str, Any]]:
        """A work's square (1, 3, side, side) and its measures, made or read."""
        slug = kind.slug if side == SIDE else f"{kind.slug}-{side}"
        stem = self.folder / "cloaks" / slug / piece.path.parent.name / piece.path.stem
        picture, measures = stem.with_suffix(".png"), stem.with_suffix(".json")
        if not measures.is_file():
            stem.parent.mkdir(parents=True, exist_ok=True)
            pixels, found = self._make(load_square(piece.path, side), target_of(piece.hand), kind)
            with atomic_write(picture) as temporary:
                to_pil_image((pixels[0] * LEVELS).round().to(torch.uint8)).save(temporary, "PNG")
            write_json(found, measures)
        return load_square(picture, side), json.loads(measures.read_text(encoding="utf-8"))

    def _make(self, original: Tensor, style: Style, kind: Kind) -> tuple[Tensor, dict[str, Any]]:
        side = original.shape[-1]
        styled = self.redraw(original, style).clamp(0, 1)
        goal = {"pattern": pattern(side), "tiles": tiles(side)}.get(kind.lead, styled)
        if kind.lead == "drawn":
            goal = self.redraw(tiles(side), style).clamp(0, 1)
        started = time.monotonic()
        pixels = (
            self._noisy(original, kind)
            if kind.features == NOISE
            else self._led(original, goal, kind)
        )
        seconds = time.monotonic() - started
        quality = measure_quality(original, pixels)
        return pixels, {
            "perceptual": float(self.metric.distance(self.metric.reference(original), pixels)),
            "rms": float((pixels - original).square().mean().sqrt()) * LEVELS,
            "ssimulacra2": quality.ssimulacra2,
            "flip": quality.flip,
            "flat_share": quality.flat_share,
            "flat_delta_e": quality.flat_delta_e,
            "seconds": round(seconds, 1),
            **self.moved(original, pixels, styled),
        }

    def _led(self, original: Tensor, goal: Tensor, kind: Kind) -> Tensor:
        cloak = optimize_cloak(
            original,
            goal,
            encoder_of(self.networks, kind.features),
            BUDGETS[kind.budget],
            CloakSettings(objective=kind.lead if kind.lead in OBJECTIVES else "towards"),
            metric=self.metric,
        )
        return cloak.images.cpu()

    def _noisy(self, original: Tensor, kind: Kind) -> Tensor:
        budget = BUDGETS[kind.budget]
        comparison = Comparison.of(
            original, 1 - original, encoder_of(self.networks, "latents"), self.metric
        )
        room = Room.of(original, budget, None)
        signs = torch.randint(
            0, 2, (1, 3, *(n // 2 for n in original.shape[-2:])), generator=torch.Generator()
        )
        delta = (2.0 * signs - 1).repeat_interleave(2, -1).repeat_interleave(2, -2)
        return largest_inside(comparison, room, delta * (budget.linf or 1), budget.limit)[0]

    @torch.no_grad()
    def moved(self, original: Tensor, cloaked: Tensor, styled: Tensor) -> dict[str, float]:
        """How far latents and decoded pictures go, for the work as it is and as a mimic loads it.

        ``shift`` is of Φ towards the styled picture, ``decoded`` the rms change in grey levels of
        D(Φ(·)), ``kept`` the share of Φ's squared displacement that Φ(D(Φ(·))) still has.
        """
        found: dict[str, float] = {}
        for label, side in (("", original.shape[-1]), ("_loaded", TRAINED)):
            three = [area(picture, side) for picture in (original, cloaked, styled)]
            first, second, goal = (self._encoded(picture) for picture in three)
            gone = 1 - feature_distance(second, goal) / feature_distance(first, goal)
            with quick():
                shown = [self.networks.autoencoder.decode(latents) for latents in (first, second)]
            again = [self._encoded(picture) for picture in shown]
            found[f"shift{label}"] = float(gone)
            rms = (shown[1] - shown[0]).float().square().mean().sqrt()
            found[f"decoded{label}"] = float(rms) * LEVELS
            found[f"kept{label}"] = float(
                feature_distance(again[1], again[0]) / feature_distance(second, first)
            )
        return found

    def _encoded(self, picture: Tensor) -> Tensor:
        with quick():
            return self.networks.autoencoder.encode(picture).float()


def target_of(hand: str) -> Style:
    """The style that all works of an artist are led towards."""
    name = random.Random(hand).choice(TARGETS)
    return next(style for style in builtin_styles() if style.name == name)


def summary(measures: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means over works; of what some works lack, over the others."""
    means = {}
    for key in measures[0]:
        known = [float(m[key]) for m in measures if m[key] is not None]
        if known:
            means[key] = sum(known) / len(known)
    return means
