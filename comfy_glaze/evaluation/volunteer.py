"""A whole experiment on somebody's own checkpoint: artists, a judge, rows, and what it costs.

Everything that can be interrupted is kept by :mod:`.experiment`; here is what goes around it.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..cloaking.budget import PRESETS as BUDGETS
from ..cloaking.objectives import AUTO, objective_for
from ..countermeasures.tools import Tools
from ..files.finding import find_artworks
from ..judges.features import load_features
from ..judges.genres import Classifier, load_clip, usual_genre
from ..judges.probe import StyleProbe, fit_probe
from ..networks.captions import Work, caption_works
from ..networks.perceptual import load_metric
from ..portfolio.engine import CloakRequest, Engine, ModelNames, StyleChoice, open_engine
from .benchmark import PRESETS
from .generation import Generation, generate
from .generators import denoiser_of, family_of, load_generator
from .lab import Artist, Lab
from .mimicry import FineTuning, TrainingStep, fine_tune
from .open_lab import TEXTURE, bundled_stranger, countermeasures_of
from .scenarios import PLAIN, Scenario
from .training_data import training_pixels
from .training_works import training_works

UPLOAD = "jpeg-420:85"
"""What a site does to a picture; the trainer then scales it to its own size."""

_AS_PUBLISHED = (
    PLAIN,
    Scenario("default", preset="default"),
    Scenario("strong", preset="strong"),
)
GRID = (
    *_AS_PUBLISHED,
    *(replace(row, name=f"{row.name}, uploaded", before=UPLOAD) for row in _AS_PUBLISHED),
)
"""The rows of a contribution."""

FEWEST, MOST = 8, 24
"""Works of one artist: with fewer one is left out, and of more the mimic learns from this many."""

_FOR_THE_MIMIC = 2 / 3  # of an artist's works; the judge learns from the rest


@dataclass(frozen=True)
class VolunteerRequest:
    """What ``comfy-glaze benchmark volunteer`` was asked for.

    Attributes:
        works: a folder with a folder for each artist, or with one artist's works.
        folder: where everything goes.
        checkpoint: the generator that mimics start from, a path or a hub id.
        artists: how many of them are mimicked, at most; the judge knows all.
        captions: see :func:`comfy_glaze.networks.captions.caption_works`.
        clip: what names genres, in place of a judge that is trained on the artists.
        style: the cloaks' target, or ``auto``.
        tuning, generation: None for the family's own.
        device: by name.
    """

    works: Path
    folder: Path
    checkpoint: str
    artists: int = 2
    captions: str = "filename"
    clip: str | None = None
    style: str = "auto"
    tuning: FineTuning | None = None
    generation: Generation | None = None
    device: str = "auto"


@dataclass(frozen=True, eq=False)
class Experiment:
    """A lab with its artists.

    Attributes:
        lab, artists: ready to be run.
        family: the pipeline's class.
        accuracy: of the judge on works that it has not seen; None for one that was not trained.
    """

    lab: Lab
    artists: list[Artist]
    family: str
    accuracy: float | None


def usual_settings(family: str) -> tuple[FineTuning, Generation]:
    """How LoRAs are commonly trained and drawn for a pipeline's class.

    512 px for Stable Diffusion 1 and 2 and for FLUX.1, 1024 px for XL; all else as in the preset
    ``lora``.
    """
    usual = PRESETS["lora"]
    side = 1024 if family == "StableDiffusionXLPipeline" else 512
    guidance = 3.5 if family == "FluxPipeline" else usual.generation.guidance
    drawing = replace(usual.generation, sampler="dpm++", steps=25, resolution=side)
    tuning = replace(usual.tuning, resolution=side, at_once=1)
    return tuning, replace(drawing, guidance=guidance, at_once=1)


def works_by_artist(folder: Path) -> dict[str, list[Path]]:
    """The works in each folder of a folder, by its name; its own works where it has no folders.

    Artists with too few are left out.

    Raises:
        ValueError: none has enough.
    """
    found: dict[str, list[Path]] = {}
    for path, name in find_artworks([folder]):
        found.setdefault(name.parts[0] if len(name.parts) > 1 else folder.name, []).append(path)
    enough = {artist: paths for artist, paths in found.items() if len(paths) >= FEWEST}
    if not enough:
        most = max(map(len, found.values()))
        raise ValueError(
            f"Expected artists with {FEWEST} works or more, a folder for each, but the most that "
            f"one has are {most}."
        )
    return enough


def open_experiment(request: VolunteerRequest) -> Experiment:
    """Load everything, train the judge, and choose each artist's target style.

    Raises:
        ValueError: something is missing; its sentence says what.
    """
    by_artist = works_by_artist(request.works)
    request.folder.mkdir(parents=True, exist_ok=True)
    family = family_of(request.checkpoint)
    tuning, generation = usual_settings(family)
    tuning, generation = request.tuning or tuning, request.generation or generation
    mimicked = list(by_artist)[: request.artists]
    engines = [_engine(request, by_artist[name]) for name in mimicked]
    engine, device = engines[0], engines[0].encoder.device
    assert engine.metric is not None  # the budgets have one
    parted = {name: _parted(paths) for name, paths in by_artist.items()}
    classifier, probe = _judge(request, parted, tuning.resolution, device)
    lab = Lab(
        folder=request.folder,
        generator=request.checkpoint,
        encoder=engine.encoder,
        style_transfer=engine.style_transfer,
        metric=engine.metric,
        extractor=load_features(TEXTURE, device),
        texture=load_metric(TEXTURE, device),
        classifier=classifier,
        tuning=tuning,
        generation=generation,
        cloaking=replace(engine.settings, objective=objective_for(AUTO, engine.settings.method)),
        countermeasures=countermeasures_of(GRID, Tools()),
        device=device,
    )
    stranger = bundled_stranger(request.folder)
    artists = []
    for name, own in zip(mimicked, engines, strict=True):
        works = _captioned(request, name, parted[name][0], device)
        genre = name if probe else _genre(classifier, works, tuning.resolution)
        artists.append(Artist(name, tuple(works), genre, own.target.style, stranger))
    return Experiment(lab, artists, family, probe.accuracy if probe else None)


def _engine(request: VolunteerRequest, works: Sequence[Path]) -> Engine:
    """Φ is the checkpoint's; Ω is the small network, so that no second checkpoint is in memory."""
    return open_engine(
        CloakRequest(
            BUDGETS["default"],
            models=ModelNames((request.checkpoint,), "embedded", request.device),
            style=StyleChoice(request.style, seed=1),  # not 0: it can be repeated anywhere
        ),
        works,
    )


def _parted(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """An artist's works for the mimic, and those that the judge learns from."""
    shuffled = sorted(paths)
    random.Random(0).shuffle(shuffled)
    count = min(MOST, round(_FOR_THE_MIMIC * len(shuffled)))
    return shuffled[:count], shuffled[count:]


def _judge(
    request: VolunteerRequest,
    parted: dict[str, tuple[list[Path], list[Path]]],
    side: int,
    device: torch.device,
) -> tuple[Classifier | None, StyleProbe | None]:
    """A CLIP, or a probe that is trained on works that no mimic has; for one artist neither."""
    if request.clip is not None:
        return load_clip(request.clip, device=device), None
    if len(parted) < 2:
        return None, None
    extractor = load_features(TEXTURE, device)

    def seen(part: int) -> tuple[torch.Tensor, list[str]]:
        pairs = [(name, path) for name, both in parted.items() for path in both[part]]
        pictures = (training_pixels(path, side) for _, path in pairs)
        return extractor.of(pictures), [name for name, _ in pairs]

    features, names = seen(1)
    probe = fit_probe(features, names, extractor.name, seen(0))
    return probe.classifier(extractor), probe


def _genre(classifier: Classifier | None, works: Sequence[Work], side: int) -> str | None:
    if classifier is None:
        return None
    return usual_genre(classifier.rank(training_pixels(work.path, side) for work in works))


def _captioned(
    request: VolunteerRequest, artist: str, paths: Sequence[Path], device: torch.device
) -> list[Work]:
    kept = request.folder / "captions" / f"{artist}.json"
    return caption_works(paths, artist, request.captions, device, kept)


# --- the forecast --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Forecast:
    """What an experiment costs, from a few steps of each kind on this machine.

    Attributes:
        models: how many LoRAs are trained.
        seconds: wall time for all.
        disk: bytes of what is kept.
    """

    models: int
    seconds: float
    disk: float


_TRIAL_STEPS = 3  # of training, the first of which warms up


def forecast(experiment: Experiment, seeds: int) -> Forecast:
    """Cloak one work, train for three steps and draw one picture, and count."""
    lab, artist = experiment.lab, experiment.artists[0]
    work, place = artist.works[0], lab.folder / "trial"
    cloaked = next(row for row in GRID if row.is_cloaked)
    started = time.monotonic()
    training_works(lab, artist, [work], cloaked, 0, lambda _: None)
    cloaking = time.monotonic() - started

    started = time.monotonic()
    pipeline = load_generator(lab.generator, lab.device)
    loading = time.monotonic() - started
    ticks: list[float] = []

    def tick(step: TrainingStep) -> None:
        ticks.append(time.monotonic())

    short = replace(lab.tuning, steps=_TRIAL_STEPS)
    fine_tune(pipeline, [work], short, place / f"{time.time_ns()}", tick)
    step = (ticks[-1] - ticks[0]) / (len(ticks) - 1)
    started = time.monotonic()
    one = replace(lab.generation, images_per_caption=1)
    ((picture, _),) = generate(pipeline, [work.caption], one, place / f"{time.time_ns()}")
    drawing = time.monotonic() - started

    size = picture.stat().st_size
    shutil.rmtree(place)
    works = sum(len(artist.works) for artist in experiment.artists)
    models = len(GRID) * len(experiment.artists) * seeds
    held_out = max(1, round(0.2 * works / len(experiment.artists)))
    drawn = models * held_out * lab.generation.images_per_caption
    kinds = len({row.preset for row in GRID if row.is_cloaked})
    uploads = sum(row.before is not None for row in GRID)
    return Forecast(
        models,
        works * kinds * cloaking + models * (loading + lab.tuning.steps * step) + drawn * drawing,
        works * (kinds + uploads * seeds) * work.path.stat().st_size * _AS_PNG
        + drawn * size
        + models * _lora_size(pipeline),
    )


_AS_PNG = 2  # a JPEG becomes several times as large, a PNG with a cloak in it half as large again


def _lora_size(pipeline: Any) -> int:
    weights = denoiser_of(pipeline).named_parameters()
    return sum(weight.numel() * 4 for name, weight in weights if "lora" in name)
