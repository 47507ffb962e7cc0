"""Train the small world's generator: a latent diffusion model on the embedded autoencoder.

    python training/small_world/train_generator.py --world cores --minutes 120

The model learns captions such as "a portrait by sepia chalk" with the library's own fine-tuning
loop, from random weights.  If the command is given again, it goes on where it stopped.

``generator/`` is a diffusers Stable Diffusion pipeline.  ``generator.json`` has its hash, and the
share of pictures that the judges find in the style and content that were asked for.
``generator.png`` shows some.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

from world import (
    UNSTYLED,
    WORLDS,
    World,
    arguments,
    caption,
    folder_of,
    read_grid,
    world_styles,
)

from comfy_glaze.devices import choose_device
from comfy_glaze.evaluation.figures import write_grid
from comfy_glaze.evaluation.generation import generate
from comfy_glaze.evaluation.generators import load_generator
from comfy_glaze.evaluation.mimicry import TrainingStep, fine_tune
from comfy_glaze.evaluation.small_generator import SIZES, build_generator
from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.files.atomic import write_json
from comfy_glaze.judges.intervals import share_interval
from comfy_glaze.judges.probe import load_probe
from comfy_glaze.networks.captions import Work


def works_of_the_world(folder: Path) -> list[Work]:
    """All that the generator learns from, with captions."""
    return [
        Work(folder / row["file"], caption(row["content"], row["style"]))
        for row in read_grid(folder)
        if row["part"] == "world"
    ]


def judge(pipeline: Any, folder: Path, world: World, device: Any) -> dict[str, Any]:
    """Draw every style once with each of two contents, and ask the judges."""
    contents = sorted({row["content"] for row in read_grid(folder) if row["part"] == "world"})
    styles = [UNSTYLED, *(style.name for style in world_styles())]
    asked = [
        (content, style)
        for number, style in enumerate(styles)
        for content in random.Random(number).sample(contents, min(2, len(contents)))
    ]
    prompts = [caption(content, style) for content, style in asked]
    drawn = generate(pipeline, prompts, world.generation, folder / "generator-drawn")
    report: dict[str, Any] = {}
    for label, place in (("content", 0), ("style", 1)):
        _, classifier = load_probe(folder / f"{label}.safetensors", device)
        ranked = classifier.rank(load_artwork(path).pixels for path, _ in drawn)
        hits = [ranks[0] == asked[n][place] for ranks, (_, n) in zip(ranked, drawn, strict=True)]
        report[label] = share_interval(hits, [n for _, n in drawn]).as_json()
    rows = [
        (prompt, [path for path, number in drawn if number == n])
        for n, prompt in enumerate(prompts)
    ]
    write_grid(rows[::4], world.generation.images_per_caption, folder / "generator.png")
    return report


def main() -> None:
    """Train as far as the time goes; when finished, judge."""
    options = arguments("Train the small world's generator.").parse_args()
    folder, world = folder_of(options), WORLDS[options.world]
    device = choose_device(options.device)
    until = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    works = works_of_the_world(folder)
    untrained = folder / "untrained"
    if not untrained.is_dir():
        sentences = {work.caption for work in works}
        build_generator(untrained, sorted(sentences), SIZES[world.unet])
    pipeline = load_generator(str(untrained), device)
    losses: list[float] = []

    def on_step(step: TrainingStep) -> None:
        losses.append(step.loss)
        if step.step % 50 == 0:
            mean = sum(losses) / len(losses)
            print(f"step {step.step}/{step.steps}  loss {mean:.4f}", flush=True)
            losses.clear()

    if not fine_tune(pipeline, works, world.training, folder / "run", on_step, until=until):
        print("the time is over; run the same command again to go on")
        return
    pipeline.save_pretrained(folder / "generator")
    record = json.loads((folder / "run" / "mimic.json").read_text(encoding="utf-8"))
    report = {"weights": record["weights"], "settings": record["settings"], "pictures": len(works)}
    report |= judge(pipeline, folder, world, device)
    write_json(report, folder / "generator.json")
    print(json.dumps({key: report[key] for key in ("weights", "content", "style")}, indent=1))


if __name__ == "__main__":
    main()
