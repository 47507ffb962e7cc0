"""The experiments, as data: what is cloaked, how, and what the mimic does about it.

A grid is a tuple of scenarios; a table is a grid run for some artists and seeds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from ..cloaking.budget import PRESETS, Budget
from ..images import LEVELS

CAPS: dict[float, float | None] = {
    0.0: None,
    0.03: 4 / LEVELS,
    0.05: 8 / LEVELS,
    0.1: 16 / LEVELS,
    0.2: 32 / LEVELS,
}
"""The L∞ cap that goes with each limit p: one cap for all would make the larger p coincide."""

DEFAULT_LIMIT = 0.05


@dataclass(frozen=True)
class Scenario:
    """One row of a table.

    Attributes:
        name: as the table shows it.
        system: a key of :data:`comfy_glaze.cloaking.systems.SYSTEMS`, ``none``, or the name of an
            entry whose cloaked pictures were made elsewhere.
        limit: p; the cap is that of :data:`CAPS`.
        share: of the mimic's training works that are cloaked, 0 to 1.
        before: a countermeasure that the mimic applies to its training works, with its amount as
            :func:`comfy_glaze.countermeasures.parse_cases` reads it (``noise:0.05``).
        after: one that it applies to the pictures it has drawn.
        steps: of fine-tuning; None for the lab's own number.
        encoder: the artist's, where it is not the mimic's.
        images_per_caption: None for the lab's own number.
        preset: a key of :data:`comfy_glaze.cloaking.budget.PRESETS`, whose limit, cap and spared
            even ground then take the place of ``limit`` and its uniform cap.
        robustness: of the cloak, a key of :data:`comfy_glaze.cloaking.robustness.ROBUSTNESS`.
        inverted: whether the mimic asks with words that are found for the training works (see
            :mod:`comfy_glaze.evaluation.prompt_inversion`) and not with the artist's name.
    """

    name: str
    system: str = "glaze"
    limit: float = DEFAULT_LIMIT
    share: float = 1.0
    before: str | None = None
    after: str | None = None
    steps: int | None = None
    encoder: str | None = None
    images_per_caption: int | None = None
    inverted: bool = False
    preset: str | None = None
    robustness: str = "none"

    def __post_init__(self) -> None:
        if self.limit not in CAPS:
            raise ValueError(
                f"Expected a limit among {', '.join(f'{p:g}' for p in CAPS)}, "
                f"but got {self.limit:g}."
            )
        if not 0 <= self.share <= 1:
            raise ValueError(f"Expected a share from 0 to 1, but got {self.share:g}.")

    @property
    def is_cloaked(self) -> bool:
        """Whether any work is changed at all."""
        return self.system != "none" and self.limit > 0 and self.share > 0

    @property
    def budget(self) -> Budget:
        """How much the cloaks may change."""
        if self.preset is not None:
            return PRESETS[self.preset]
        return Budget(limit=self.limit, linf=CAPS[self.limit])

    def key(self) -> dict[str, Any]:
        """What decides the result, the name left out: rows that differ in it alone are one."""
        decisive = asdict(self)
        del decisive["name"]
        if self.preset is None:
            del decisive["preset"]
        if self.robustness == "none" or not self.is_cloaked:
            del decisive["robustness"]
        if not self.is_cloaked:
            decisive |= {"system": "none", "limit": 0.0, "share": 0.0, "encoder": None}
        return decisive


PLAIN = Scenario("no cloak", system="none", limit=0.0, share=0.0)
GLAZE = Scenario("Glaze, p = 0.05")

_LIMITS = tuple(Scenario(f"Glaze, p = {p:g}", limit=p) for p in CAPS if p)
_SHARES = tuple(
    Scenario(f"Glaze, {share:.0%} of the works", share=share) for share in (0.25, 0.5, 0.75, 1.0)
)
_SYSTEMS = (
    GLAZE,
    Scenario("Fawkes, adapted", system="fawkes"),
    Scenario("LowKey, adapted", system="lowkey"),
    Scenario("PhotoGuard, adapted", system="photoguard"),
    Scenario("sign steps, L∞ cap alone", system="sign-linf"),
)
_STEPS = (1000, 2000, 3000, 4000)
_BEFORE = (
    "noise:0.05",
    "noise:0.15",
    "jpeg-420:20",
    "jpeg-420:10",
    "resize-lanczos:0.5",
    "adverse-cleaner:64",
)
_UPLOADS = (
    (0.05, "jpeg-420:75"),
    (0.05, "jpeg-420:20"),
    (0.05, "resize-lanczos:0.5"),
    (0.2, "jpeg-420:75"),
)

GRIDS: dict[str, tuple[Scenario, ...]] = {
    "smoke": (PLAIN, GLAZE),
    "core": (
        PLAIN,
        replace(GLAZE, name="Glaze, p = 0.05, 50% of the works", share=0.5),
        GLAZE,
        replace(GLAZE, name="Glaze, p = 0.2, 50% of the works", share=0.5, limit=0.2),
        replace(GLAZE, name="Glaze, p = 0.2", limit=0.2),
        *_SYSTEMS[1:3],
    ),
    "limit": (PLAIN, *_LIMITS),
    "share": (PLAIN, *_SHARES),
    "systems": (PLAIN, *_SYSTEMS),
    "presets": (PLAIN, *(Scenario(f"Glaze, preset {name}", preset=name) for name in PRESETS)),
    "prompting": (
        replace(PLAIN, name="the name alone, no fine-tuning", steps=0),
        PLAIN,
    ),
    "inversion": (
        replace(PLAIN, name="found words, no fine-tuning, no cloak", steps=0, inverted=True),
        replace(GLAZE, name="found words, no fine-tuning, Glaze", steps=0, inverted=True),
    ),
    "steps": tuple(
        scenario
        for steps in _STEPS
        for scenario in (
            replace(PLAIN, name=f"no cloak, {steps} steps", steps=steps),
            replace(GLAZE, name=f"Glaze, {steps} steps", steps=steps),
        )
    ),
    "countermeasures": (
        PLAIN,
        GLAZE,
        *(replace(GLAZE, name=f"Glaze, then {name}", before=name) for name in _BEFORE),
        *(replace(PLAIN, name=f"no cloak, {name}", before=name) for name in _BEFORE),
        replace(
            GLAZE,
            name="Glaze, then noise:0.15, drawn pictures denoised",
            before="noise:0.15",
            after="denoise:0.15",
        ),
    ),
    "web": (
        PLAIN,
        GLAZE,
        replace(GLAZE, name="Glaze, p = 0.05, robust", robustness="web"),
        *(
            Scenario(
                f"Glaze, p = {limit:g}, {how}then {change}",
                limit=limit,
                before=change,
                robustness=level,
            )
            for limit, change in _UPLOADS
            for how, level in (("", "none"), ("robust, ", "web"))
        ),
    ),
    "luck": (replace(GLAZE, name="Glaze, 100 seeds per caption", images_per_caption=100),),
}
"""Grids by name.  Another encoder for the artist (``encoder``) is set by the caller, who has it."""


def with_encoder(grid: tuple[Scenario, ...], encoder: str) -> tuple[Scenario, ...]:
    """The grid where the artist cloaks with an encoder that is not the mimic's (Figure 12)."""
    return tuple(
        replace(scenario, name=f"{scenario.name}, cloaked on {encoder}", encoder=encoder)
        if scenario.is_cloaked
        else scenario
        for scenario in grid
    )
