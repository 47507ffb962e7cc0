"""From what a user names to a lab that can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..cloaking.budget import PRESETS
from ..countermeasures import COUNTERMEASURES, Case, apply_countermeasure, available, parse_cases
from ..countermeasures.tools import CountermeasureError, Tools
from ..files.artwork import Artwork, save_artwork
from ..files.bundled import content_pictures
from ..files.finding import find_artworks
from ..judges.features import load_features
from ..judges.genres import Classifier, load_clip, usual_genre
from ..judges.probe import load_probe
from ..networks.captions import caption_works
from ..networks.encoder_files import load_encoder
from ..networks.perceptual import load_metric
from ..portfolio.engine import CloakRequest, ModelNames, StyleChoice, open_engine
from .benchmark import Preset
from .lab import Artist, Countermeasure, Lab
from .prompt_inversion import load_inverter
from .scenarios import Scenario
from .training_data import training_pixels

TEXTURE = "st-lpips-vgg"
"""Whose trunk the style distance and the kernel distance look through."""


@dataclass(frozen=True)
class LabRequest:
    """What ``comfy-glaze benchmark mimicry`` was asked for.

    Attributes:
        works: files or folders of one artist.
        folder: where everything goes.
        preset: how mimics train and draw.
        checkpoint: the generator that mimics start from.
        artist: the name in the captions.
        captions: see :func:`comfy_glaze.networks.captions.caption_works`.
        genre: the artist's; None to take what the works are ranked as most often.
        clip, probe: what names genres; neither for the measures that need no names.
        style: the cloaks' target, or ``auto``.
        stranger: another artist's work; None for a bundled picture.
        grid: the scenarios to come, whose countermeasures must be at hand.
        device: by name.
    """

    works: tuple[Path, ...]
    folder: Path
    preset: Preset
    checkpoint: str | None
    artist: str = "the artist"
    captions: str = "filename"
    genre: str | None = None
    clip: str | None = None
    probe: Path | None = None
    style: str = "auto"
    stranger: Path | None = None
    grid: tuple[Scenario, ...] = ()
    device: str = "auto"


def open_lab(request: LabRequest) -> tuple[Lab, list[Artist], dict[str, Any]]:
    """Load everything once.

    Returns:
        The lab, its one artist, and what the head of a table says.

    Raises:
        ValueError: something is missing; its sentence says what.
    """
    if request.checkpoint is None:
        raise ValueError(
            "Expected a generator that a mimic would fine-tune: --checkpoint PATH_OR_HUB_ID."
        )
    if request.clip is not None and request.probe is not None:
        raise ValueError("Expected one classifier, but got both --clip and --probe.")
    inverted = any(scenario.inverted for scenario in request.grid)
    if inverted and request.clip is None:
        raise ValueError("Finding words for pictures needs a CLIP: --clip PATH_OR_HUB_ID.")
    paths = [path for path, _ in find_artworks(request.works)]
    if len(paths) < 5:
        raise ValueError(f"A mimic needs five works or more, but got {len(paths)}.")
    request.folder.mkdir(parents=True, exist_ok=True)
    tuning, cloaking = request.preset.tuning, request.preset.cloaking
    named = "embedded" if _is_around_the_embedded_one(request.checkpoint) else request.checkpoint
    engine = open_engine(
        CloakRequest(
            PRESETS["default"],
            cloaking,
            ModelNames((named,), named, request.device),
            StyleChoice(request.style, seed=1),  # not 0: an experiment can be repeated anywhere
        ),
        paths,
    )
    device = engine.encoder.device
    if engine.metric is None:
        raise ValueError("The lab's cloaks need a perceptual metric, but got none.")
    about: dict[str, Any] = {"generator": Path(request.checkpoint).name}
    classifier: Classifier | None = None
    if request.clip is not None:
        classifier = load_clip(request.clip, device=device)
    elif request.probe is not None:
        probe, classifier = load_probe(request.probe, device)
        about["accuracy of the style probe"] = probe.accuracy
    works = caption_works(
        paths, request.artist, request.captions, device, request.folder / "captions.json"
    )
    genre = None
    if classifier is not None:
        ranked = classifier.rank(training_pixels(path, tuning.resolution) for path in paths)
        genre = classifier.label(request.genre) if request.genre else usual_genre(ranked)
        about["classifier"] = classifier.name
        about["genre"] = f"{genre} ({'given' if request.genre else 'as most works are ranked'})"
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
        generation=request.preset.generation,
        cloaking=cloaking,
        countermeasures=countermeasures_of(request.grid, Tools(pipeline=request.checkpoint)),
        inverter=load_inverter(request.clip, device) if request.clip and inverted else None,
        device=device,
    )
    target = engine.target.style
    about["target style"] = target.name
    stranger = request.stranger or bundled_stranger(request.folder)
    return lab, [Artist(request.artist, tuple(works), genre, target, stranger)], about


def countermeasures_of(grid: Sequence[Scenario], tools: Tools) -> dict[str, Countermeasure]:
    """The countermeasures that a grid names, ready to be applied.

    Raises:
        CountermeasureError: one that does not exist, or that this machine cannot run.
    """
    names = {name for scenario in grid for name in (scenario.before, scenario.after) if name}
    found: dict[str, Countermeasure] = {}
    for name in sorted(names):
        (case,) = parse_cases(name, tools)
        if not available(case.countermeasure, tools):
            needs = COUNTERMEASURES[case.countermeasure].needs
            raise CountermeasureError(f"{case.countermeasure} needs {needs}, which is not here.")

        def change(images: Tensor, seed: int, case: Case = case) -> Tensor:
            return apply_countermeasure(
                case.countermeasure, images, case.amount, seed=seed, tools=tools
            )

        found[name] = change
    return found


def _is_around_the_embedded_one(checkpoint: str) -> bool:
    """Whether a generator's encoder is the embedded one, as the small world's is."""
    return load_encoder(checkpoint).fingerprint == load_encoder("embedded").fingerprint


def bundled_stranger(folder: Path) -> Path:
    """A picture of the package, which Fawkes leads towards where no other was named."""
    path = folder / "stranger.png"
    if not path.is_file():
        pixels = content_pictures()[0]
        save_artwork(pixels, Artwork(pixels), path)
    return path
