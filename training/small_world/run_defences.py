"""Run robust training and outlier detection in the small world, as in §7 of the paper.

    python training/small_world/run_defences.py --world cores --steps 50 200 800

Outlier detection: a mimic with 20 originals of each artist tries to tell cloaked works from others.

Robust training: the encoder is retrained on pairs of original and cloaked pictures of the world,
measured on the artists' works, and then used for mimicry.  ``retrain`` is Eq. 3 with the encoder's
decoder, after which the generator is taught the new features.  ``keep`` stays inside the old
feature space.

The script writes ``defences.json`` and ``defences.md``.  Everything is kept under ``defences/`` and
never done twice.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffusers import AutoencoderTiny
from run_grid import artists_of, open_world, tell
from torch import Tensor
from train_generator import works_of_the_world
from world import ARTISTS, UNSTYLED, WORLDS, World, arguments, folder_of, read_grid

from comfy_glaze.cloaking.systems import cloak_as
from comfy_glaze.devices import choose_device
from comfy_glaze.evaluation.benchmark import run_grid
from comfy_glaze.evaluation.generators import load_generator
from comfy_glaze.evaluation.lab import Artist, Lab
from comfy_glaze.evaluation.mimicry import fine_tune
from comfy_glaze.evaluation.outliers import detect
from comfy_glaze.evaluation.robust_training import (
    RobustTraining,
    measure_resistance,
    save_robust,
    train_robustly,
)
from comfy_glaze.evaluation.scenarios import GLAZE, PLAIN
from comfy_glaze.files.artwork import Artwork, load_artwork, save_artwork
from comfy_glaze.files.atomic import write_json
from comfy_glaze.networks.encoder_files import embedded_autoencoder
from comfy_glaze.styles.bank import Style

Pairs = list[tuple[Tensor, Tensor]]


def cloaked_pairs(lab: Lab, paths: Sequence[Path], target: Style, place: str) -> Pairs:
    """Pictures and what the default cloak makes of them, kept as files."""
    folder, pairs = lab.folder / "pairs" / place, []
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        pixels, kept = load_artwork(path).pixels, folder / f"{path.stem}.png"
        if not kept.is_file():
            cloak = cloak_as(
                "glaze",
                pixels,
                styled=lab.style_transfer(pixels, target),
                stranger=pixels,
                encoder=lab.encoder,
                budget=replace(GLAZE.budget, metric=lab.metric.name),
                settings=lab.cloaking,
                metric=lab.metric,
            )
            save_artwork(cloak.images.cpu(), Artwork(pixels), kept)
        pairs.append((pixels, load_artwork(kept).pixels))
    return pairs


def robust_generator(
    folder: Path, world: World, lab: Lab, settings: RobustTraining, pairs: Pairs, minutes: float
) -> Path | None:
    """The generator around a robust autoencoder; None where the time was over first."""
    place = lab.folder / f"generator-{settings.variant}-{settings.steps}"
    if (place / "model_index.json").is_file():
        return place
    vae, run = (place.with_name(f"{name}-{place.name}") for name in ("vae", "run"))
    if not vae.is_dir():
        trained = train_robustly(embedded_autoencoder().float().to(lab.device), pairs, settings)
        save_robust(trained, settings, vae)
    pipeline = load_generator(lab.generator, lab.device)
    pipeline.vae = type(pipeline.vae).from_pretrained(vae).to(lab.device)
    if settings.variant == "retrain":  # teach the U-Net the new feature space
        tuning = replace(world.training, steps=world.training.steps // 5, warm_up=0)
        until = time.monotonic() + 60 * minutes
        if not fine_tune(pipeline, works_of_the_world(folder), tuning, run, until=until):
            return None
    pipeline.save_pretrained(place)
    shutil.rmtree(run, ignore_errors=True)
    return place


def outlier_table(lab: Lab, artists: Sequence[Artist]) -> dict[str, Any]:
    """Precision and recall of a one-class SVM on an ImageNet network's features."""
    own, cloaked = [], []
    for artist in artists:
        paths = [work.path for work in artist.works]
        pairs = cloaked_pairs(lab, paths, artist.target, artist.name)
        own.append(lab.extractor.of(plain for plain, _ in pairs))
        cloaked.append(lab.extractor.of(other for _, other in pairs))
    return {"features": lab.extractor.name, **detect(own, cloaked).as_json()}


def main() -> None:
    """Both tables."""
    parser = arguments("Robust training and outlier detection in the small world.")
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 200, 800])
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    folder, world = folder_of(options), WORLDS[options.world]
    lab = open_world(folder, world, choose_device(options.device), "defences")
    lab = replace(lab, folder=folder / "defences")
    artists = artists_of(folder, list(ARTISTS)[:2], lab.encoder)
    report: dict[str, Any] = {"outliers": outlier_table(lab, artists), "robust training": []}
    print(report["outliers"], flush=True)
    rows = [r for r in read_grid(folder) if r["part"] == "world" and r["style"] != UNSTYLED]
    paths = [folder / row["file"] for row in rows[:: max(1, len(rows) // options.pairs)]]
    training = cloaked_pairs(lab, paths[: options.pairs], artists[0].target, "world")
    unseen = [
        pair
        for artist in artists
        for pair in cloaked_pairs(lab, [w.path for w in artist.works], artist.target, artist.name)
    ]
    original = embedded_autoencoder().float().to(lab.device)
    first = measure_resistance(original, original, unseen).as_json()
    report["robust training"].append({"variant": "none", "steps": 0, **first})
    text = ""
    for variant in ("retrain", "keep"):
        for steps in options.steps:
            settings = RobustTraining(variant, steps=steps, crop=min(128, world.side))
            minutes = options.minutes or 1e6
            generator = robust_generator(folder, world, lab, settings, training, minutes)
            if generator is None:
                print("the time is over; run the same command again to go on")
                return
            trained = AutoencoderTiny.from_pretrained(generator / "vae").to(lab.device)
            row = {"variant": variant, "steps": steps}
            row |= measure_resistance(trained, original, unseen).as_json()
            mimic = replace(lab, generator=str(generator), folder=lab.folder / generator.name)
            about = {"vae": f"{variant}, {steps} steps"}
            cells, _ = run_grid(mimic, artists, (PLAIN, GLAZE), options.seeds, about, tell)
            report["robust training"].append(row | {"cells": len(cells)})
            text += f"## {variant}, {steps} steps\n\n"
            text += (mimic.folder / "results.md").read_text(encoding="utf-8") + "\n"
            write_json(report, lab.folder / "defences.json")
            (lab.folder / "defences.md").write_text(text, encoding="utf-8")
            print(row, flush=True)


if __name__ == "__main__":
    main()
