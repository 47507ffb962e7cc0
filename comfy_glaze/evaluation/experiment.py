"""One cell of a table: cloak, fine-tune, draw, measure; kept on disk, never done twice.

A cell is a scenario for one artist and one seed.  Whatever is interrupted goes on where it stopped:
cloaked pictures, the training's checkpoint, drawn pictures and finished cells are all files.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..artwork import Artwork, atomic_write, load_artwork, save_artwork
from ..baselines import cloak_as
from ..budget import Budget
from ..cloak import CloakSettings
from ..encoders import Encoder
from ..images import resize
from ..measures import pixel_change, worst_perceptual
from ..perceptual import PerceptualMetric
from ..style_bank import Style
from ..style_transfer import StyleTransfer
from .captions import Work, replaced, split_works
from .generation import Generation, generate, planned
from .generators import load_generator
from .genre_shift import Classifier
from .mimicry import FineTuning, TrainingStep, fine_tune, training_pixels
from .scenarios import Scenario
from .style_features import FeatureExtractor, grams, kernel_distance, noise_level, style_distances

Countermeasure = Callable[[Tensor, int], Tensor]
"""From images (B, 3, H, W) in [0, 1] and a seed to images of the same range."""


@dataclass(frozen=True, eq=False)
class Artist:
    """Who is mimicked.

    Attributes:
        name: as the captions end with it.
        works: pictures and captions.
        genre: what the classifier should call the works; None where nothing classifies.
        target: T, the style that the artist's cloaks lead towards.
        stranger: an artwork by somebody else, which Fawkes leads towards.
    """

    name: str
    works: tuple[Work, ...]
    genre: str | None
    target: Style
    stranger: Path


@dataclass(frozen=True, eq=False)
class Lab:
    """All that is the same for every cell.

    Attributes:
        folder: where everything is kept.
        generator: the text-to-image model that mimics start from, as a path or a hub id.
        encoder: Φ of that model, which cloaks aim at unless a scenario names another.
        style_transfer, metric: Ω and the perceptual metric.
        extractor: features for the kernel distance.
        texture: the metric whose trunk the style distance looks through.
        classifier: names styles; None for the measures that need none.
        tuning, generation: how mimics train and draw; the cell's seed is added to theirs.
        cloaking: method, steps and seed of the cloaks.
        encoders: other encoders by name.
        entries: folders of cloaked pictures made elsewhere, by the entry's name.
        countermeasures: by name.
        keep_mimics: whether the fine-tuned weights stay on disk.
        device: where mimics train.
    """

    folder: Path
    generator: str
    encoder: Encoder
    style_transfer: StyleTransfer
    metric: PerceptualMetric
    extractor: FeatureExtractor
    texture: PerceptualMetric
    classifier: Classifier | None
    tuning: FineTuning
    generation: Generation
    cloaking: CloakSettings
    encoders: Mapping[str, Encoder] = field(default_factory=dict)
    entries: Mapping[str, Path] = field(default_factory=dict)
    countermeasures: Mapping[str, Countermeasure] = field(default_factory=dict)
    keep_mimics: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


@dataclass(frozen=True)
class Progress:
    """What a cell's callback receives.

    Attributes:
        stage: ``cloak``, ``fine-tune``, ``draw`` or ``measure``.
        done, of: within the stage.
        note: the loss, while fine-tuning.
    """

    stage: str
    done: int
    of: int
    note: str = ""


OnProgress = Callable[[Progress], None]


def run_cell(
    lab: Lab,
    artist: Artist,
    scenario: Scenario,
    seed: int,
    on_progress: OnProgress = lambda _: None,
    *,
    until: float | None = None,
) -> dict[str, Any] | None:
    """Run one scenario for one artist and seed, or read its result.

    Args:
        until: a value of ``time.monotonic()`` after which the training stops at a checkpoint.

    Returns:
        The cell as JSON, or None where the time was over first.

    Raises:
        ValueError: a countermeasure, encoder or entry of the scenario is not in the lab.
    """
    tuning = replace(
        lab.tuning,
        seed=lab.tuning.seed + seed,
        steps=lab.tuning.steps if scenario.steps is None else scenario.steps,
    )
    drawing = replace(
        lab.generation,
        seed=lab.generation.seed + seed,
        images_per_caption=scenario.images_per_caption or lab.generation.images_per_caption,
    )
    decisive = {
        "scenario": scenario.key(),
        "artist": artist.name,
        "genre": artist.genre,
        "target_style": artist.target.name if scenario.is_cloaked else None,
        "seed": seed,
        "generator": Path(lab.generator).name,
        "encoder": lab.encoder.fingerprint,
        "tuning": asdict(tuning),
        "generation": asdict(drawing),
        "cloaking": asdict(lab.cloaking) if scenario.is_cloaked else None,
    }
    key = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:8]
    stem = f"{_slug(artist.name)}-{_slug(scenario.system)}-{seed}-{key}"
    result = lab.folder / "cells" / f"{stem}.json"
    judges = {
        "classifier": lab.classifier.name if lab.classifier else None,
        "features": lab.extractor.name,
        "texture": lab.texture.name,
    }
    if result.is_file():
        cell: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        if cell["judges"] == judges:
            return cell | {"name": scenario.name}
    train, held_out = split_works(artist.works, seed=seed)
    cloaks, train = _training_works(lab, artist, train, scenario, seed, on_progress)
    place, pictures = lab.folder / "mimics" / stem, lab.folder / "drawn" / stem
    prompts = [work.caption for work in held_out]
    drawn = planned(len(prompts), drawing, pictures)
    if not all(path.is_file() for path, _ in drawn):
        pipeline = load_generator(lab.generator, lab.device)
        if tuning.steps and not fine_tune(
            pipeline, train, tuning, place, lambda s: on_progress(_told(s)), until=until
        ):
            return None

        def on_image(done: int, of: int) -> None:
            on_progress(Progress("draw", done, of))

        generate(pipeline, prompts, drawing, pictures, on_image)
        del pipeline
    measured = _measure(lab, artist, held_out, drawn, scenario, seed, on_progress)
    cell = decisive | {
        "judges": judges,
        "folder": stem,
        "training": _last_line(place / "log.jsonl"),
        "cloaks": cloaks,
        **measured,
    }
    write_json(cell, result)
    if place.is_dir() and not lab.keep_mimics:
        for weights in ("unet", "prior"):
            shutil.rmtree(place / weights, ignore_errors=True)
    return cell | {"name": scenario.name}


def write_json(value: Any, path: Path) -> None:
    """Write a JSON file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name.casefold()).strip("-") or "x"


def _told(step: TrainingStep) -> Progress:
    return Progress("fine-tune", step.step, step.steps, f"loss {step.loss:.3f}")


def _last_line(log: Path) -> dict[str, Any] | None:
    if not log.is_file():
        return None
    last: dict[str, Any] = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    return last


# --- what the mimic trains on --------------------------------------------------------------------


def _training_works(
    lab: Lab,
    artist: Artist,
    train: Sequence[Work],
    scenario: Scenario,
    seed: int,
    on_progress: OnProgress,
) -> tuple[list[dict[str, Any]], list[Work]]:
    """The cloaks' measures, and the works with the cloaked and altered ones in their places."""
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
        folder = lab.folder / "altered" / f"{_slug(artist.name)}-{_slug(scenario.before)}-{seed}"
        folder = folder / _slug(f"{scenario.system}-{scenario.limit:g}-{scenario.share:g}")
        change = _found(lab.countermeasures, scenario.before, "countermeasure")
        for number, work in enumerate(works):
            _alter(work.path, _at(work, folder).path, change, seed * 1000 + number)
        works = [_at(work, folder) for work in works]
    return cloaks, works


def _entry_measures(lab: Lab, original: Path, cloaked: Path) -> dict[str, Any]:
    """What a cloak made elsewhere costs; where it leads is not known, so it has no shift."""
    before, after = (load_artwork(path).pixels.to(lab.device) for path in (original, cloaked))
    if before.shape != after.shape:
        raise ValueError(
            f"{cloaked} must have the size of {original}, {tuple(before.shape[-2:])}, "
            f"but it has {tuple(after.shape[-2:])}."
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


def _found(things: Mapping[str, Any], name: str, kind: str) -> Any:
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
    name = f"{scenario.system}-p{scenario.limit:g}-{settings.method}-{settings.steps}"
    target = _slug(artist.target.name)
    return lab.folder / "cloaked" / _slug(artist.name) / f"{name}-{encoder.fingerprint}-{target}"


def _encoder(lab: Lab, scenario: Scenario) -> Encoder:
    if scenario.encoder is None:
        return lab.encoder
    encoder: Encoder = _found(lab.encoders, scenario.encoder, "encoder")
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
    budget = Budget(limit=scenario.limit, linf=scenario.linf, metric=lab.metric.name)
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
                settings=lab.cloaking,
                metric=lab.metric,
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            write_json(asdict(cloak.measures[0]) | {"file": work.path.name}, note)
            save_artwork(cloak.images.cpu(), Artwork(pixels), target)
        measures.append(json.loads(note.read_text(encoding="utf-8")))
        on_progress(Progress("cloak", number + 1, len(works)))
    return measures


# --- what the mimic drew -------------------------------------------------------------------------


def _measure(
    lab: Lab,
    artist: Artist,
    held_out: Sequence[Work],
    drawn: Sequence[tuple[Path, int]],
    scenario: Scenario,
    seed: int,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Every measure of the drawn pictures, and the same ones of the artist's own works."""
    change = None
    if scenario.after is not None:
        change = _found(lab.countermeasures, scenario.after, "countermeasure")

    def pictures() -> Iterator[Tensor]:
        for number, (path, _) in enumerate(drawn):
            picture = load_artwork(path).pixels
            yield picture if change is None else change(picture, seed * 1000 + number).clamp(0, 1)
            on_progress(Progress("measure", number + 1, len(drawn)))

    side = lab.generation.resolution
    own = [training_pixels(work.path, side) for work in artist.works]
    made = list(pictures())
    texture = grams(lab.texture, own, lab.device)
    distances = style_distances(grams(lab.texture, made, lab.device), texture)
    references = _own_distances(texture)
    ranked = lab.classifier.rank(made) if lab.classifier else [()] * len(made)
    rows = [
        {
            "file": path.name,
            "caption": held_out[caption].caption,
            "top": list(ranks[:3]),
            "style_distance": float(distance),
            "noise": float(noise_level(picture)),
        }
        for (path, caption), picture, ranks, distance in zip(
            drawn, made, ranked, distances, strict=True
        )
    ]
    enough = min(len(own), len(made)) >= 4
    kernel = kernel_distance(lab.extractor.of(own), lab.extractor.of(made)) if enough else None
    works_ranked = lab.classifier.rank(own) if lab.classifier else []
    return {
        "pictures": rows,
        "kernel_distance": kernel.as_json() if kernel else None,
        "works": {
            "style_distance": references,
            "noise": [float(noise_level(picture)) for picture in own],
            "top": [list(ranks[:3]) for ranks in works_ranked],
        },
    }


def _own_distances(texture: Sequence[Tensor]) -> list[float]:
    """The style distance of each work to the artist's other works: what is as near as it gets."""
    values = []
    for i in range(len(texture[0])):
        rest = torch.arange(len(texture[0])) != i
        one, others = [g[i : i + 1] for g in texture], [g[rest.to(g.device)] for g in texture]
        values.append(float(style_distances(one, others)[0]))
    return values


def pictures_of(lab: Lab, cell: Mapping[str, Any]) -> Iterable[Path]:
    """The files that a cell's model drew."""
    folder = lab.folder / "drawn" / str(cell["folder"])
    return (folder / row["file"] for row in cell["pictures"])
