"""Poison a concept of the small world, and see what the generator draws for each number of samples.

    python training/small_world/run_poison.py --world cores --seeds 3

Pictures of one style (``--concept``), captioned as such and led to another (``--towards``), are
mixed into further training of the world's generator.  Then the judge looks at what the generator
draws when it is asked for the concept.  ``--kind content`` does the same to a content ("portrait",
"landscape"), if the world's content judge is good enough.  The arm ``mislabelled`` trains on the
anchors themselves under the concept's captions.  This is the most that a swap could reach, and
anyone would see it.

Everything is kept under ``poison/``; an interrupted run goes on where it was.  ``poison.json``,
``poison.md`` and ``poison.png`` are written after every model.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from collect import drawn_in
from run_grid import about_world
from torch import device as Device
from train_generator import works_of_the_world
from world import UNSTYLED, WORLDS, World, arguments, caption, folder_of, read_grid, world_styles

from comfy_glaze.cloaking.budget import NIGHTSHADE, Budget
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.devices import choose_device
from comfy_glaze.evaluation.generation import generate
from comfy_glaze.evaluation.generators import load_generator
from comfy_glaze.evaluation.mimicry import FineTuning, TrainingStep, fine_tune
from comfy_glaze.evaluation.retention_plot import write_bars
from comfy_glaze.evaluation.scenarios import CAPS
from comfy_glaze.files.artwork import Artwork, load_artwork, save_artwork
from comfy_glaze.files.atomic import write_json
from comfy_glaze.judges.intervals import Interval, mean_interval, share_interval
from comfy_glaze.judges.probe import load_probe
from comfy_glaze.networks.captions import Work
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.perceptual import load_metric
from comfy_glaze.poison.anchors import fitted
from comfy_glaze.styles.transfer import StyleTransfer, load_style_transfer

COUNTS = (0, 25, 50, 100, 200)
ARMS = ("nightshade", "mislabelled")
DEFAULTS = {
    "style": ("Sepia chalk", "Blue and yellow swirls"),
    "content": ("portrait", "landscape"),
}
ANCHORS_EACH = 4  # drawn for each content (or style)


@dataclass(frozen=True, eq=False)
class Swap:
    """One concept led to another, in one world.

    Attributes:
        folder, world, device: of the small world.
        out: where everything of this swap is kept.
        kind: "style" or "content": what C and A are.
        concept, towards: C and A.
        budget: of the samples.
        tuning: of the further training.
        clean: pictures at most that are trained on beside the samples; None for all.
        prompts: contents (or styles) at most in which C is asked for.
    """

    folder: Path
    world: World
    device: Device
    out: Path
    kind: str
    concept: str
    towards: str
    budget: Budget
    tuning: FineTuning
    clean: int | None
    prompts: int

    @property
    def other(self) -> str:
        """What varies beside the concept."""
        return "content" if self.kind == "style" else "style"

    def asks(self, concept: str, other: str) -> str:
        """The caption for C or A with one of the others."""
        words = {self.kind: concept, self.other: other}
        return caption(words["content"], words["style"])

    @cached_property
    def _engine(self) -> StyleTransfer:
        return load_style_transfer("embedded")

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """The pictures that the samples are made of, in a fixed random order."""
        world = [row for row in read_grid(self.folder) if row["part"] == "world"]
        mine = [row for row in world if row[self.kind] == self.concept]
        if self.kind == "content":
            random.Random(0).shuffle(mine)
            return mine[: len(mine) // 2]  # the other half stays clean
        drawn = {_content(row) for row in mine}  # those all stay clean: too few to take from
        more = [row for row in world if row["style"] == UNSTYLED and _content(row) not in drawn]
        random.Random(0).shuffle(more)
        return [self._drawn(row) for row in more[: max(COUNTS)]]

    def _drawn(self, row: dict[str, str]) -> dict[str, str]:
        """A content of the world, drawn in the concept's style."""
        path = self.out / "originals" / f"{_content(row)}.png"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            content = self.folder / "contents" / f"{_content(row)}.webp"
            style = next(style for style in world_styles() if style.name == self.concept)
            drawn = drawn_in(style, content, self._engine, self.world.side)
            save_artwork(drawn, Artwork(drawn), path)
        file = path.relative_to(self.folder).as_posix()
        return row | {"file": file, "style": self.concept}


def _content(row: dict[str, str]) -> str:
    """The number of the content that a picture of the world was drawn on."""
    return Path(row["file"]).stem.split("-")[0]


def draw_anchors(swap: Swap) -> dict[str, list[Path]]:
    """The destination as the untouched generator draws it, with each of the others."""
    others = sorted({row[swap.other] for row in swap.rows})
    pipeline = load_generator(str(swap.folder / "generator"), swap.device)
    drawing = replace(swap.world.generation, images_per_caption=ANCHORS_EACH, seed=77)
    prompts = [swap.asks(swap.towards, other) for other in others]
    drawn = generate(pipeline, prompts, drawing, swap.out / "anchors")
    return {other: [p for p, n in drawn if n == number] for number, other in enumerate(others)}


def poison_all(swap: Swap, rows: Sequence[dict[str, str]]) -> dict[str, dict[str, Any]]:
    """Poison the pictures that are not poisoned yet; gives each one's file, anchor and measures."""
    kept = swap.out / "samples.json"
    done: dict[str, dict[str, Any]] = json.loads(kept.read_text("utf-8")) if kept.is_file() else {}
    missing = [row for row in rows if row["file"] not in done]
    if not missing:
        return done
    anchors = draw_anchors(swap)
    encoder = load_encoder("embedded", swap.device)
    metric = load_metric(swap.budget.metric, swap.device)
    settings = CloakSettings()
    for number, row in enumerate(missing):
        choices = anchors[row[swap.other]]
        anchor = choices[len(done) % len(choices)]
        pixels = load_artwork(swap.folder / row["file"]).pixels
        goal = fitted(load_artwork(anchor).pixels, *pixels.shape[-2:])
        made = optimize_cloak(pixels, goal, encoder, swap.budget, settings, metric=metric)
        path = swap.out / "samples" / f"{len(done):04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = made.images.cpu()
        save_artwork(image, Artwork(image), path)
        done[row["file"]] = {
            "file": path.relative_to(swap.out).as_posix(),
            "anchor": anchor.relative_to(swap.out).as_posix(),
            "shift": made.measures[0].shift_512,
            "perceptual": made.measures[0].perceptual,
        }
        if number % 20 == 19 or number == len(missing) - 1:
            write_json(done, kept)
            print(f"poisoned {number + 1}/{len(missing)}", flush=True)
    return done


def training_set(swap: Swap, arm: str, count: int, seed: int) -> list[Work]:
    """Clean pictures of the world, and so many samples with the concept's captions."""
    rows = swap.rows
    taken = {swap.folder / row["file"] for row in rows}
    clean = [work for work in works_of_the_world(swap.folder) if work.path not in taken]
    if swap.clean is not None:
        clean = random.Random(1).sample(clean, min(swap.clean, len(clean)))
    chosen = random.Random(f"samples {seed}").sample(rows, count)
    made = poison_all(swap, rows) if count else {}
    which = "file" if arm == "nightshade" else "anchor"
    samples = [
        Work(swap.out / made[row["file"]][which], caption(row["content"], row["style"]))
        for row in chosen
    ]
    return clean + samples


def asked_for(swap: Swap) -> list[str]:
    """Prompts for the concept, each with another content (or style) that the generator knows."""
    others = sorted({row[swap.other] for row in swap.rows} - {UNSTYLED})
    random.Random(2).shuffle(others)
    return [swap.asks(swap.concept, other) for other in others[: swap.prompts]]


def run_cell(swap: Swap, arm: str, count: int, seed: int, until: float | None) -> bool:
    """Train, draw, judge and note one model; whether it was finished in time."""
    name = f"{arm}-{count}-{seed}" if count else f"clean-{seed}"
    result = swap.out / "cells" / f"{name}.json"
    if result.is_file():
        return True
    works = training_set(swap, arm, count, seed)
    pipeline = load_generator(str(swap.folder / "generator"), swap.device)
    model, tuning = swap.out / "models" / name, replace(swap.tuning, seed=seed)

    def on_step(step: TrainingStep) -> None:
        if step.step % 100 == 0:
            print(f"{name}: step {step.step}/{step.steps}  loss {step.loss:.4f}", flush=True)

    if not fine_tune(pipeline, works, tuning, model, on_step, until=until):
        return False
    drawn = generate(pipeline, asked_for(swap), swap.world.generation, model / "drawn")
    _, judge = load_probe(swap.folder / f"{swap.kind}.safetensors", swap.device)
    firsts = [ranks[0] for ranks in judge.rank(load_artwork(path).pixels for path, _ in drawn)]
    result.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        {
            "arm": arm,
            "count": count,
            "seed": seed,
            "judged": firsts,
            "pictures": len(works),
            "clean pictures of the concept": _clean(swap, works) - count,
        },
        result,
    )
    shutil.rmtree(model / "unet", ignore_errors=True)  # large, and no longer needed
    print(f"{name}: {firsts.count(swap.towards)}/{len(firsts)} {swap.towards}", flush=True)
    return True


def _clean(swap: Swap, works: Sequence[Work]) -> int:
    """How many works have a caption of the concept."""
    named = {swap.asks(swap.concept, row[swap.other]) for row in read_grid(swap.folder)}
    return sum(work.caption in named for work in works)


def write_results(swap: Swap, counts: Sequence[int], arms: Sequence[str]) -> None:
    """``poison.json``, ``poison.md`` and ``poison.png`` of all finished models."""
    paths = sorted((swap.out / "cells").glob("*.json"))
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    generator = json.loads((swap.folder / "generator.json").read_text(encoding="utf-8"))
    report: dict[str, Any] = {
        "concept": swap.concept,
        "towards": swap.towards,
        "limit": swap.budget.limit,
        "linf": swap.budget.linf,
        "training": {"steps": swap.tuning.steps, "batch": swap.tuning.batch},
        "generator": about_world(swap.folder, swap.world),
        f"generator, asked {swap.kind} found by the judge": generator[swap.kind],
        f"{swap.kind} judge": json.loads((swap.folder / "judges.json").read_text("utf-8"))[
            swap.kind
        ],
        "samples": _samples(swap),
        "rows": [],
    }
    lines = [
        f"Asked for {swap.concept}; samples led towards {swap.towards}.",
        "",
        f"| samples | trained on | judged {swap.towards} | judged {swap.concept} | models |",
        "|---|---|---|---|---|",
    ]
    bars: list[tuple[str, dict[str, float]]] = []
    for count in counts:
        values: dict[str, float] = {}
        for arm in arms if count else ("clean",):
            mine = [c for c in cells if c["count"] == count and arm in (c["arm"], "clean")]
            if not mine:
                continue
            shares = {word: _share(mine, word) for word in (swap.towards, swap.concept)}
            row = {"arm": arm, "count": count, "pictures": mine[0]["pictures"]}
            row["clean pictures of the concept"] = mine[0]["clean pictures of the concept"]
            row |= {word: share.as_json() for word, share in shares.items()}
            report["rows"].append(row)
            values[arm] = shares[swap.towards].value
            said = " | ".join(f"{s.value:.1%} [{s.low:.1%}, {s.high:.1%}]" for s in shares.values())
            lines.append(f"| {count} | {arm} | {said} | {len(mine)} |")
        if values:
            row_values = {arm: values.get(arm, values.get("clean", 0.0)) for arm in arms}
            bars.append((f"{count} samples", row_values))
    write_json(report, swap.out / "poison.json")
    (swap.out / "poison.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if bars:
        title = f"Share of prompts for {swap.concept} that yield {swap.towards}"
        write_bars(title, bars, swap.out / "poison.png")


def _samples(swap: Swap) -> dict[str, Any]:
    kept = swap.out / "samples.json"
    if not kept.is_file():
        return {}
    made = list(json.loads(kept.read_text(encoding="utf-8")).values())
    means = {key: mean_interval([s[key] for s in made]) for key in ("shift", "perceptual")}
    return {"count": len(made)} | {key: mean.as_json() for key, mean in means.items()}


def _share(cells: Sequence[dict[str, Any]], word: str) -> Interval:
    pairs = [(first == word, cell["seed"]) for cell in cells for first in cell["judged"]]
    hits, seeds = zip(*pairs, strict=True)
    return share_interval(hits, seeds)


def main() -> None:
    """Every number of samples, as far as the time goes."""
    parser = arguments("Poison a concept of the small world.")
    parser.add_argument("--kind", choices=DEFAULTS, default="style")
    parser.add_argument("--concept", help="usual: " + " or ".join(c for c, _ in DEFAULTS.values()))
    parser.add_argument("--towards", help="usual: " + " or ".join(a for _, a in DEFAULTS.values()))
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of training; default: four times a mimic's")
    parser.add_argument("--clean", type=int, help="pictures of the world beside the samples")
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument(
        "--limit", type=float, choices=[p for p in CAPS if p], help="usual: that of Nightshade"
    )
    options = parser.parse_args()
    folder, world = folder_of(options), WORLDS[options.world]
    concept = options.concept or DEFAULTS[options.kind][0]
    towards = options.towards or DEFAULTS[options.kind][1]
    name = f"{concept}-{towards}".replace(" ", "_").casefold()
    budget = NIGHTSHADE
    if options.limit:
        name += f"-p{options.limit:g}"
        budget = replace(NIGHTSHADE, limit=options.limit, linf=CAPS[options.limit])
    steps = 4 * world.tuning.steps if options.steps is None else options.steps
    swap = Swap(
        folder,
        world,
        choose_device(options.device),
        folder / "poison" / f"{name}-{steps}-{options.clean or 'all'}",
        options.kind,
        concept,
        towards,
        budget,
        replace(world.tuning, steps=steps, caption_dropout=0.1),
        options.clean,
        options.prompts,
    )
    largest = len(swap.rows)
    counts = [count for count in sorted(set(options.counts)) if count <= largest]
    if len(counts) < len(set(options.counts)):
        print(f"This world has {largest} pictures of {swap.concept} to poison, and no more.")
    until = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    for seed in range(options.seeds):  # a whole curve first, then the next one for the intervals
        for count in counts:
            for arm in options.arms if count else options.arms[:1]:
                over = until is not None and time.monotonic() > until
                if over or not run_cell(swap, arm, count, seed, until):
                    print("the time is over; run the same command again to go on")
                    return
                write_results(swap, counts, options.arms)
    print((swap.out / "poison.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
