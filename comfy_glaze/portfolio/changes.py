"""What has changed since a picture was cloaked: a table of dated facts, the weightiest first.

A picture is outdated by a fact that is younger than its cloak and concerns it.  Every fact names
the page that holds it, so that anyone can check it; a new one is a new row, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ..networks import families

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """A fact that may outdate a cloak.

    Attributes:
        name: in a few words, for a table.
        since: when it became known or possible, UTC; None for what was so from the beginning.
        version: the first of this program that knows it.
        concerns: whether it concerns a cloak, from its report.
        says: the fact, in a sentence.
        again: options of ``comfy-glaze cloak`` that answer it; None while nothing does.
        source: the page of this repository that holds it.
    """

    name: str
    since: datetime | None
    version: str
    concerns: Callable[[Report], bool]
    says: str
    again: str | None
    source: str


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def _is_rehearsal(report: Report) -> bool:
    return bool(report["rehearsal"])


def _made_towards(report: Report) -> bool:
    """Reports without an objective are older than the second one."""
    return bool(report["settings"].get("objective", "towards") == "towards")


def _spares_what_is_seen(report: Report) -> bool:
    return report["settings"]["preset"] in ("gallery", "default")


def _does_not_lead(family: str) -> Callable[[Report], bool]:
    return lambda report: family not in (report["encoder"].get("family") or "")


def _can_be_led(family: str, models: str) -> Change:
    return Change(
        name=f"for {family} encoder",
        since=_utc("2026-11-28T19:45:44"),
        version="0.1.0",
        concerns=_does_not_lead(family),
        says=f"Cloaks can be made for {family} encoder ({models}); this one was not.",
        again="--encoder NAME, once for each model",
        source="docs/models.md",
    )


CHANGES: tuple[Change, ...] = (
    Change(
        name="rehearsal",
        since=None,
        version="0.1.0",
        concerns=_is_rehearsal,
        says="It was a rehearsal: the embedded encoder belongs to no image generator.",
        again="--checkpoint NAME",
        source="comfy_glaze/networks/embedded/MODEL_CARD.md",
    ),
    Change(
        name="the preset did nothing",
        since=_utc("2026-11-22T19:11:52"),
        version="0.1.0",
        concerns=_spares_what_is_seen,
        says="In the small world the presets gallery and default made no difference that six "
        "models could show.",
        again="--preset strong --uniform",
        source="docs/small-world.md",
    ),
    Change(
        name="undone by an upload",
        since=_utc("2026-11-28T20:40:25"),
        version="0.1.0",
        concerns=lambda report: _made_towards(report) and _spares_what_is_seen(report),
        says="On real illustrations that were saved as JPEG and halved, the published objective "
        "with the numbers of the gallery of that time changed nothing of what mimics drew.",
        again="--preset strong",
        source="docs/real-art-world.md",
    ),
    Change(
        name="the presets go farther",
        since=_utc("2026-11-29T19:46:02"),
        version="0.1.0",
        concerns=_spares_what_is_seen,
        says="Presets allow more since: of real illustrations today's default led 16 of 100 of a "
        "mimic's drawings out of the style, where the default of that time led 10.",
        again="--preset default",
        source="docs/real-art-world.md",
    ),
    _can_be_led(families.FLUX_1, "FLUX.1, Kontext, Krea, Chroma, Z-Image"),
    _can_be_led(families.SD, "SDXL, Pony, Illustrious, NoobAI"),
    _can_be_led(families.WAN_2_1, "Qwen-Image, Krea 2, Anima, Wan 2.1"),
    _can_be_led(families.FLUX_2, "FLUX.2 with klein, Ideogram 4, ERNIE-Image"),
)
"""The weightiest first.  The date of a measurement, or of a new ability, is that of its commit."""


def changes_since(made: datetime, report: Report) -> list[Change]:
    """What has changed since a picture was cloaked that concerns it, the weightiest first.

    Poison and the cloaks of other systems are not concerned.

    Args:
        made: when, with its time zone.
        report: the picture's.

    Raises:
        KeyError, TypeError, AttributeError: it is no report of this program.
    """
    if report.get("poison") or report.get("system"):
        return []
    return [
        change
        for change in CHANGES
        if (change.since is None or made < change.since) and change.concerns(report)
    ]
