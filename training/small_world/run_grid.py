"""Run a grid of scenarios in the small world: mimics of artists whom the generator has never seen.

    python training/small_world/run_grid.py --world cores --grid core --seeds 3

Everything is kept under ``grids/``; an interrupted run goes on where it was.  ``results.md``,
``results.json`` and a picture for each artist are written after every cell.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from world import ARTISTS, UNSTYLED, WORLDS, World, arguments, caption, folder_of, read_grid

from comfy_glaze.cloaking.cloak import CloakSettings
from comfy_glaze.countermeasures.tools import Tools
from comfy_glaze.devices import choose_device
from comfy_glaze.evaluation.benchmark import CellProgress, run_grid, world_of
from comfy_glaze.evaluation.lab import Artist, Lab
from comfy_glaze.evaluation.open_lab import TEXTURE, countermeasures_of
from comfy_glaze.evaluation.scenarios import GRIDS, Scenario
from comfy_glaze.judges.features import load_features
from comfy_glaze.judges.probe import load_probe
from comfy_glaze.networks.captions import Work
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.networks.perceptual import load_metric
from comfy_glaze.styles.builtin_bank import builtin_bank
from comfy_glaze.styles.target import select_target_style
from comfy_glaze.styles.transfer import load_style_transfer
from comfy_glaze.styles.works import rank_works


def artists_of(folder: Path, names: list[str], encoder: Encoder) -> list[Artist]:
    """The artists, each with a target style from the band of those that the generator knows."""
    bank = builtin_bank(encoder).restricted_to(lambda s: s.name not in ARTISTS.values())
    rows = read_grid(folder)
    stranger = next(row for row in rows if row["part"] == "judge-test" and row["style"] == UNSTYLED)
    found = []
    for name in names:
        works = tuple(
            Work(folder / row["file"], caption(row["content"], name))
            for row in rows
            if row.get("artist") == name
        )
        ranked = rank_works(bank, [work.path for work in works], encoder)
        target = select_target_style(ranked).style
        found.append(Artist(name, works, ARTISTS[name], target, folder / stranger["file"]))
    return found


def open_world(folder: Path, world: World, device: torch.device, place: str) -> Lab:
    """The lab of a world."""
    _, classifier = load_probe(folder / "style.safetensors", device)
    texture = load_metric(TEXTURE, device)
    return Lab(
        folder=folder / "grids" / place,
        generator=str(folder / "generator"),
        encoder=load_encoder("embedded", device),
        style_transfer=load_style_transfer("embedded", device),
        metric=load_metric("auto", device),
        extractor=load_features(TEXTURE, device),
        texture=texture,
        classifier=classifier,
        tuning=world.tuning,
        generation=world.generation,
        cloaking=CloakSettings(),
        device=device,
    )


def about_world(folder: Path, world: World) -> dict[str, Any]:
    """What the head of a table must say: how good the generator and the judges are."""
    judges = json.loads((folder / "judges.json").read_text(encoding="utf-8"))
    generator = json.loads((folder / "generator.json").read_text(encoding="utf-8"))
    return {
        "style judge, held-out pictures through the autoencoder": _said(
            judges["style"]["through the autoencoder"]
        ),
        "generator, asked style found by the judge": _said(generator["style"]),
        "generator weights": generator["weights"],
        "pictures": f"{world.side} px",
    }


def _said(share: dict[str, float]) -> str:
    return f"{share['value']:.1%} [{share['low']:.1%}, {share['high']:.1%}]"


def tell(at: CellProgress) -> None:
    """A line at the beginning of each stage."""
    if at.progress.done in (1, at.progress.of):
        progress = at.progress
        print(
            f"{at.cell}/{at.cells} {at.artist}, seed {at.seed}, {at.scenario}: "
            f"{progress.stage} {progress.done}/{progress.of} {progress.note}",
            flush=True,
        )


def main() -> None:
    """Run a grid as far as the time goes."""
    parser = arguments("Run a grid in the small world.")
    parser.add_argument("--grid", choices=GRIDS, default="core")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--artists", nargs="+", choices=ARTISTS, default=list(ARTISTS)[:2])
    parser.add_argument("--steps", type=int, help="of fine-tuning, in place of the world's")
    options = parser.parse_args()
    folder, world = folder_of(options), WORLDS[options.world]
    lab = open_world(folder, world, choose_device(options.device), options.grid)
    grid: tuple[Scenario, ...] = GRIDS[options.grid]
    lab = replace(lab, countermeasures=countermeasures_of(grid, Tools()))
    if options.steps is not None:
        lab = replace(lab, tuning=replace(lab.tuning, steps=options.steps))
    artists = artists_of(folder, options.artists, lab.encoder)
    about = about_world(folder, world) | {"world": world_of(lab, artists, options.seeds)}
    cells, left = run_grid(lab, artists, grid, options.seeds, about, tell, minutes=options.minutes)
    print((lab.folder / "results.md").read_text(encoding="utf-8") if cells else "nothing finished")
    if left:
        print(f"{left} cells are left; run the same command again to go on")


if __name__ == "__main__":
    main()
