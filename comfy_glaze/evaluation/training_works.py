"""What a mimic trains on in a scenario: works cloaked in part, and changed in the mimic's turn."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..cloaking.cloak import CloakSettings
from ..cloaking.measures import pixel_change, worst_perceptual
from ..cloaking.systems import cloak_as
from ..files.artwork import Artwork, load_artwork, save_artwork
from ..files.atomic import write_json
from ..images import resize, size_words
from ..networks.captions import Work, replaced, works_as_json
from ..networks.encoders import Encoder
from .lab import Artist, Countermeasure, Lab, OnProgress, Progress
from .scenarios import Scenario


def training_works(
    lab: Lab,
    artist: Artist,
    train: Sequence[Work],
    scenario: Scenario,
    seed: int,
    on_progress: OnProgress,
) -> tuple[list[dict[str, Any]], list[Work]]:
    """The cloaks' measures, and the works with the cloaked and changed ones in their places.

    Raises:
        ValueError: the scenario names a countermeasure, encoder or entry that the lab lacks.
    """
    works, cloaks = list(train), []
    if scenario.is_cloaked:
        chosen = works[: round(scenario.share * len(works))]  # the split has shuffled them
        if scenario.system in lab.entries:
            works[: len(chosen)] = replaced(chosen, lab.entries[scenario.system])
            pairs = zip(chosen, works, strict=False)
            cloaks = [_entry_measures(lab, work.path, other.path) for work, other in pairs]
        else:
            folder = _cloaks_folder(lab, artist, scenario)
            cloaks = _cloak_all(lab, artist, chosen, scenario, folder, on_progress)
            works[: len(chosen)] = [_at(work, folder) for work in chosen]
    if scenario.before is not None:
        folder = _home(lab, artist, "altered") / f"{slug(scenario.before)}-{seed}"
        cloak = f"{scenario.system}-{_strength(scenario)}-{scenario.share:g}-{scenario.encoder}"
        folder = folder / slug(cloak)
        change = found(lab.countermeasures, scenario.before, "countermeasure")
        for number, work in enumerate(works):
            _alter(work.path, _at(work, folder).path, change, seed * 1000 + number)
        works = [_at(work, folder) for work in works]
    return cloaks, works


def _home(lab: Lab, artist: Artist, kind: str) -> Path:
    """A folder for these very works: others by the same name get another one."""
    works = digest(works_as_json(artist.works))[:8]
    return lab.folder / kind / f"{slug(artist.name)}-{works}"


def digest(value: Any) -> str:
    """Sixteen hex digits that change with anything in a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _entry_measures(lab: Lab, original: Path, cloaked: Path) -> dict[str, Any]:
    """What a cloak made elsewhere costs; where it leads is not known, so it has no shift."""
    before, after = (load_artwork(path).pixels.to(lab.device) for path in (original, cloaked))
    if before.shape != after.shape:
        raise ValueError(
            f"{cloaked} must have the size of {original}, {size_words(before)}, "
            f"but it has {size_words(after)}."
        )
    (linf,), (psnr,) = pixel_change(before, after)
    perceptual = float(worst_perceptual(before, after, lab.metric)[0])
    return {
        "file": original.name,
        "perceptual": perceptual,
        "linf": linf,
        "psnr": psnr,
        "shift_512": None,
    }


def _at(work: Work, folder: Path) -> Work:
    return replace(work, path=folder / f"{work.path.stem}.png")


def found(things: Mapping[str, Any], name: str, kind: str) -> Any:
    """One of a lab's things by name, or a sentence that lists those there are."""
    if name not in things:
        there = ", ".join(things) or "none"
        raise ValueError(f"Expected a {kind} of this lab ({there}), but got {name}.")
    return things[name]


def _alter(source: Path, target: Path, change: Countermeasure, seed: int) -> None:
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = change(load_artwork(source).pixels, seed).clamp(0, 1)
        save_artwork(pixels, Artwork(pixels), target)


def _cloaks_folder(lab: Lab, artist: Artist, scenario: Scenario) -> Path:
    encoder = _encoder(lab, scenario)
    settings = lab.cloaking
    name = f"{scenario.system}-{_strength(scenario)}-{settings.method}-{settings.steps}"
    if settings.objective != CloakSettings.objective:
        name += f"-{settings.objective}"
    target = slug(artist.target.name)
    return _home(lab, artist, "cloaked") / f"{name}-{encoder.fingerprint}-{target}"


def _strength(scenario: Scenario) -> str:
    """A cloak's budget and robustness as part of a folder's name."""
    budget = scenario.preset or f"p{scenario.limit:g}"
    return budget if scenario.robustness == "none" else f"{budget}-{scenario.robustness}"


def _encoder(lab: Lab, scenario: Scenario) -> Encoder:
    if scenario.encoder is None:
        return lab.encoder
    encoder: Encoder = found(lab.encoders, scenario.encoder, "encoder")
    return encoder


def _cloak_all(
    lab: Lab,
    artist: Artist,
    works: Sequence[Work],
    scenario: Scenario,
    folder: Path,
    on_progress: OnProgress,
) -> list[dict[str, Any]]:
    """Cloak each work that is not cloaked yet; the measures of all of them."""
    encoder = _encoder(lab, scenario)
    budget = replace(scenario.budget, metric=lab.metric.name)
    settings = lab.cloaking
    if scenario.robustness != "none":
        settings = replace(settings, robustness=scenario.robustness)
    measures = []
    for number, work in enumerate(works):
        target = _at(work, folder).path
        note = target.with_suffix(".json")
        if not (target.is_file() and note.is_file()):
            pixels = load_artwork(work.path).pixels
            stranger = load_artwork(artist.stranger).pixels
            cloak = cloak_as(
                scenario.system,
                pixels,
                styled=lab.style_transfer(pixels, artist.target, lab.cloaking.seed),
                stranger=resize(stranger, *pixels.shape[-2:]).clamp(0, 1),
                encoder=encoder,
                budget=budget,
                settings=settings,
                metric=lab.metric,
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            write_json(asdict(cloak.measures[0]) | {"file": work.path.name}, note)
            save_artwork(cloak.images.cpu(), Artwork(pixels), target)
        measures.append(json.loads(note.read_text(encoding="utf-8")))
        on_progress(Progress("cloak", number + 1, len(works)))
    return measures


def slug(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"\W+", "-", name.casefold()).strip("-") or "x"
