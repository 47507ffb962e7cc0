"""How visible a cloak is and what survives of it, over pictures: the tables of docs/robustness.md.

Rows are kept as lines of JSON, each written when it is known, so that a run that was stopped goes
on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..cloaking.budget import PRESETS, Budget
from ..cloaking.cloak import Cloak, CloakSettings, optimize_cloak
from ..cloaking.quality import measure_quality
from ..countermeasures import Case
from ..countermeasures.retention import measure_retention
from ..countermeasures.tools import Tools
from ..images import LEVELS
from ..networks.encoders import Encoder
from ..networks.perceptual import PerceptualMetric

UNIFORM = Budget(limit=0.05, linf=4 / LEVELS)
"""What presets are compared with: the same small cap everywhere."""

EVERYDAY = (
    Case("jpeg-420", 75),
    Case("jpeg-420", 50),
    Case("resize-bilinear", 0.5),
    Case("resize-bicubic", 0.5),
    Case("resize-lanczos", 0.5),
    Case("noise", 0.05),
)
"""What every upload may do to a picture."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A picture to cloak: its name, itself and its styled version, (1, 3, H, W) in [0, 1]."""

    name: str
    original: Tensor
    styled: Tensor


@dataclass(frozen=True, eq=False)
class Trials:
    """What is tried on every cloak.

    Attributes:
        cases: countermeasures with their amounts.
        tools: what some of them need.
        seeds: of those that are random; the others run once.
    """

    cases: Sequence[Case]
    tools: Tools
    seeds: Sequence[int]


class Ledger:
    """Rows of a table in a file, each known by some of its values."""

    def __init__(self, path: Path, key: Sequence[str]) -> None:
        self.path, self.key = path, tuple(key)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]

    def has(self, values: Mapping[str, Any]) -> bool:
        return any(all(row[key] == values[key] for key in self.key) for row in self.rows)

    def add(self, row: Mapping[str, Any]) -> None:
        self.rows.append(dict(row))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def presets_and_levels() -> Iterator[tuple[str, str, Budget]]:
    """(preset, robustness, budget): the uniform cap, every preset, and the default made robust."""
    yield "uniform 4/255", "none", UNIFORM
    for name in ("gallery", "default", "strong"):
        yield name, "none", PRESETS[name]
    yield "default", "web", PRESETS["default"]


def _cloak(
    subject: Subject,
    encoder: Encoder,
    metric: PerceptualMetric,
    budget: Budget,
    settings: CloakSettings,
) -> Cloak:
    budget = replace(budget, metric=metric.name)
    return optimize_cloak(
        subject.original, subject.styled, encoder, budget, settings, metric=metric
    )


def compare_presets(
    subjects: Sequence[Subject],
    encoder: Encoder,
    metric: PerceptualMetric,
    ledger: Ledger,
    on_row: Callable[[str], None],
) -> None:
    """Shift, visibility and what everyday changes leave, for every preset and picture.

    Args:
        ledger: by ``picture``, ``preset`` and ``robustness``.
        on_row: called with a title before each row is made.
    """
    for subject in subjects:
        for preset, robustness, budget in presets_and_levels():
            row = {"picture": subject.name, "preset": preset, "robustness": robustness}
            if ledger.has(row):
                continue
            on_row(f"{subject.name}, {preset}, {robustness}")
            settings = CloakSettings(robustness=robustness)
            cloak = _cloak(subject, encoder, metric, budget, settings)
            (kept,) = measure_retention(
                subject.original, cloak.images, subject.styled, encoder, EVERYDAY, seeds=(0, 1)
            )
            ledger.add(
                row
                | asdict(cloak.measures[0])
                | asdict(measure_quality(subject.original, cloak.images))
                | {"gradients": cloak.gradients}
                | {f"kept {entry.case.label}": entry.retention for entry in kept}
            )


def compare_countermeasures(
    subjects: Sequence[Subject],
    encoder: Encoder,
    metric: PerceptualMetric,
    budget: Budget,
    levels: Sequence[CloakSettings],
    trials: Trials,
    ledger: Ledger,
    on_row: Callable[[str], None],
) -> None:
    """What each countermeasure leaves of each picture's cloaks, all within one budget.

    Args:
        levels: how each cloak is made; ``paper`` or a robustness names its column.
        ledger: by ``picture``, ``cloak``, ``countermeasure`` and ``amount``.
    """
    for subject in subjects:
        columns = {column(settings): settings for settings in levels}
        missing = [
            case
            for case in trials.cases
            if not all(
                ledger.has({"picture": subject.name, "cloak": name} | asdict(case))
                for name in columns
            )
        ]
        if not missing:
            continue
        cloaks = []
        for name, settings in columns.items():
            on_row(f"{subject.name}, cloak {name}")
            cloaks.append(_cloak(subject, encoder, metric, budget, settings).images)
        for case in missing:
            on_row(f"{subject.name}, {case.label}")
            rows = measure_retention(
                subject.original,
                torch.cat(cloaks),
                subject.styled,
                encoder,
                [case],
                seeds=trials.seeds,
                tools=trials.tools,
            )
            for name, (row,) in zip(columns, rows, strict=True):
                ledger.add(
                    {"picture": subject.name, "cloak": name}
                    | row.as_json()
                    | {"untouched": row.untouched}
                )


def column(settings: CloakSettings) -> str:
    """What a cloak is called in the table."""
    return "paper" if settings.method == "paper" else settings.robustness


def mean_by(
    rows: Sequence[Mapping[str, Any]], keys: Sequence[str], value: str
) -> dict[tuple[Any, ...], float]:
    """The mean of a value over all rows that agree in some keys."""
    groups: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        if row.get(value) is not None:
            groups.setdefault(tuple(row[key] for key in keys), []).append(float(row[value]))
    return {group: sum(values) / len(values) for group, values in groups.items()}
