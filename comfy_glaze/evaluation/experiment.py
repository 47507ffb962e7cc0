"""One cell of a table: cloak, fine-tune, draw, measure; kept on disk, never done twice.

A cell is a scenario for one artist and one seed.  Whatever is interrupted goes on where it stopped:
cloaked pictures, the training's checkpoint, drawn pictures and finished cells are all files.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files.artwork import load_artwork
from ..files.atomic import write_json
from ..judges.features import grams, kernel_distance, noise_level, style_distances
from ..networks.captions import Work, replaced, split_works, works_as_json
from .generation import generate, planned
from .generators import load_generator
from .lab import Artist, Lab, OnProgress, Progress
from .mimicry import TrainingStep, fine_tune
from .prompt_inversion import Inverter, inverted_captions
from .scenarios import Scenario
from .training_data import training_pixels
from .training_works import digest, found, slug, training_works


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
        ValueError: a countermeasure, encoder, entry or inverter of the scenario is not in the lab.
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
        "works": digest(works_as_json(artist.works)),
        "genre": artist.genre,
        "target_style": artist.target.name if scenario.is_cloaked else None,
        "seed": seed,
        "generator": Path(lab.generator).name,
        "encoder": lab.encoder.fingerprint,
        "tuning": asdict(tuning),
        "generation": asdict(drawing),
        "cloaking": asdict(lab.cloaking) if scenario.is_cloaked else None,
    }
    if scenario.inverted:
        decisive["words"] = _inverter(lab).name
    if scenario.system in lab.entries:
        theirs = replaced(artist.works, lab.entries[scenario.system])
        decisive["entry"] = digest(works_as_json(theirs))
    stem = f"{slug(artist.name)}-{slug(scenario.system)}-{seed}-{digest(decisive)[:8]}"
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
    cloaks, train = training_works(lab, artist, train, scenario, seed, on_progress)
    place, pictures = lab.folder / "mimics" / stem, lab.folder / "drawn" / stem
    prompts = [work.caption for work in held_out]
    if scenario.inverted:
        prompts = inverted_captions(prompts, _found_words(lab, train, seed, pictures / WORDS_FILE))
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
    result.parent.mkdir(parents=True, exist_ok=True)
    write_json(cell, result)
    if place.is_dir() and not lab.keep_mimics:
        for weights in ("unet", "prior"):
            shutil.rmtree(place / weights, ignore_errors=True)
    return cell | {"name": scenario.name}


WORDS_FILE = "words.txt"
"""Where the words that prompt inversion has found lie, beside what was drawn with them."""


def _inverter(lab: Lab) -> Inverter:
    if lab.inverter is None:
        raise ValueError("Finding words for pictures (PEZ) needs a CLIP, but this lab has none.")
    return lab.inverter


def _found_words(lab: Lab, train: Sequence[Work], seed: int, kept: Path) -> str:
    if not kept.is_file():
        side = lab.generation.resolution
        words = _inverter(lab).find((training_pixels(work.path, side) for work in train), seed)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(words, encoding="utf-8")
    return kept.read_text(encoding="utf-8")


def _told(step: TrainingStep) -> Progress:
    return Progress("fine-tune", step.step, step.steps, f"loss {step.loss:.3f}")


def _last_line(log: Path) -> dict[str, Any] | None:
    if not log.is_file():
        return None
    last: dict[str, Any] = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    return last


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
        change = found(lab.countermeasures, scenario.after, "countermeasure")

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
        "own": {
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
