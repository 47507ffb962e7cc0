"""Screen kinds of cloak with trained mimics: one line of JSON for each cell.

    python -m training.real_art.screen --autoencoder taef2.safetensors --artists crane \\
        --kinds none "latents/default" "decoded/even 8" --uploads none 85

A cell is a kind of cloak, an upload, a loader, a counter-move, an artist and a seed.  Lines that
``screen.jsonl`` has already are not made again, so that the command can be given again after any
interruption, and cloaked works are kept between cells.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.utils import save_image

from comfy_glaze.cloaking.effect import structure, structure_changed
from comfy_glaze.networks.perceptual import load_metric
from comfy_glaze.styles.transfer import load_style_transfer

from .autoencoder import Autoencoder, load_autoencoder
from .cloaks import Cloaker, Kind, kind_called, summary
from .counter_moves import NOTHING, changed_latents, changed_pictures
from .generator import Generator, load_generator
from .judges import Judges, load_judges
from .loaders import LOADERS, uploaded
from .mimic import Drawing, Tuning, drawn, fine_tuned, latents_of, measured, settings_of
from .objectives import Networks
from .pictures import Piece, load_square, read_pieces
from .split import held_out, layouts, mimic_works
from .world import JUDGED, SCREENING, SIDE, arguments

NO_CLOAK = "none"

LORA_RATE = 4e-3
"""The largest learning rate of LoRA."""


@dataclass(frozen=True)
class Cell:
    """What decides a line.

    Attributes:
        artist: a judged hand that the generator has never seen.
        kind: ``none``, or what :func:`cloaks.kind_called` takes.
        upload: the quality of a JPEG with halved chroma, or None.
        loader: a key of ``LOADERS``.
        counter: a move of :mod:`counter_moves`, or ``none``.
        fold: which works the mimic has.
        seed: of training and drawing.
        rank: of LoRA, or 0 for fine-tuning all weights.
        side: px of works as they are cloaked and uploaded; at the mimic's own size no loader makes
            them smaller.
    """

    artist: str
    kind: str = NO_CLOAK
    upload: int | None = None
    loader: str = "area"
    counter: str = NOTHING
    fold: int = 0
    seed: int = 0
    rank: int = 0
    side: int = SIDE


def kind_of(name: str) -> Kind | None:
    """A kind from its name; None for no cloak."""
    return None if name == NO_CLOAK else kind_called(name)


@dataclass(frozen=True, eq=False)
class Screening:
    """All that cells share.

    Attributes:
        folder: of the world.
        pieces: all its works.
        autoencoder, generator, judges, cloaker: loaded once.
        purifier: another generator, with which a mimic may purify works; or None.
        record: of the generator's training.
        tuning, drawing: of the mimics; the cell's seed takes the place of the tuning's.
    """

    folder: Path
    pieces: Sequence[Piece]
    autoencoder: Autoencoder
    generator: Generator
    judges: Judges
    cloaker: Cloaker
    purifier: Generator | None
    record: dict[str, Any]
    tuning: Tuning
    drawing: Drawing


def run_cell(screening: Screening, cell: Cell) -> dict[str, Any]:
    """Cloak, upload, load, fine-tune, draw, measure."""
    started = time.monotonic()
    works = mimic_works(screening.pieces, cell.artist, cell.fold)
    originals = [load_square(piece.path, cell.side) for piece in works]
    kind = kind_of(cell.kind)
    shown, measures = list(originals), []
    if kind is not None:
        pairs = [screening.cloaker.cloaked(piece, kind, cell.side) for piece in works]
        shown, measures = [p for p, _ in pairs], [m for _, m in pairs]
    if cell.upload is not None:
        shown = [uploaded(picture, cell.upload) for picture in shown]
    unseen = held_out(screening.pieces, cell.artist, cell.fold)
    latents = trained_on(screening, cell, shown, load_square(unseen[0].path, cell.side))
    titles = [piece.title for piece in works for _ in range(2)]
    tuning = replace(screening.tuning, seed=cell.seed, rank=cell.rank)
    if cell.rank:
        tuning = replace(tuning, rate=LORA_RATE)
    mimic, loss = fine_tuned(screening.generator, latents, titles, tuning)
    pictures = drawn(
        mimic,
        screening.autoencoder,
        [piece.title for piece in unseen],
        layouts(screening.pieces, screening.generator.shape.names, screening.drawing.layouts),
        screening.drawing,
        cell.seed,
    )
    _show(screening.folder, cell, pictures)
    others = [load_square(piece.path) for piece in unseen]
    return {
        "cell": asdict(cell),
        "generator": screening.record,
        **settings_of(tuning, screening.drawing),
        "loss": loss,
        "cloaks": summary(measures) if measures else None,
        "moved": displacement(screening, originals, latents),
        **structure_change(screening, cell, originals, latents),
        **measured(pictures, screening.judges, cell.artist, originals, others),
        "seconds": round(time.monotonic() - started),
    }


def trained_on(screening: Screening, cell: Cell, shown: Sequence[Tensor], clean: Tensor) -> Tensor:
    """The latents that a cell's mimic learns from; it may use one clean work of the artist."""
    tried = changed_pictures(cell.counter, shown, clean)
    loaded = latents_of(tried, screening.autoencoder, cell.loader, cell.seed)
    usual = latents_of([clean], screening.autoencoder, cell.loader, cell.seed)
    networks = Networks(screening.autoencoder, screening.purifier)
    return changed_latents(cell.counter, loaded, usual, networks)


def displacement(screening: Screening, originals: Sequence[Tensor], latents: Tensor) -> float:
    """The mean squared change of what the mimic learns from, over the latents' variance."""
    clean = latents_of(originals, screening.autoencoder, "area", 0)
    change = (latents - clean) / screening.generator.spread
    return float(change.square().mean())


def structure_change(
    screening: Screening, cell: Cell, originals: Sequence[Tensor], latents: Tensor
) -> dict[str, float]:
    """How the structure of what the mimic learns from changed, against the same works uploaded and
    loaded without a cloak; means over works.

    ``changed`` is the squared change over the squared structure that a work has, the mean over
    channels, by which the program predicted at first; ``covered`` is what it predicts by now.
    """
    shown = originals
    if cell.upload is not None:
        shown = [uploaded(picture, cell.upload) for picture in originals]
    clean = latents_of(shown, screening.autoencoder, "area", 0)
    change, there = (structure(part).square().mean(dim=(2, 3)) for part in (latents - clean, clean))
    return {
        "changed": float((change / there).mean()),
        "covered": float(structure_changed(clean, latents).mean()),
    }


def _show(folder: Path, cell: Cell, pictures: dict[str, Tensor]) -> None:
    words = [str(value) for value in asdict(cell).values()]
    name = "-".join(words).replace("/", "-").replace(" ", "-")
    target = folder / "drawn" / f"{name}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    save_image(torch.cat(list(pictures.values())), target, nrow=12)


def done_in(path: Path) -> list[dict[str, Any]]:
    """The lines there are."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def open_screening(
    folder: Path, autoencoder_file: Path, tuning: Tuning, fold: int, purifier: Path | None = None
) -> Screening:
    """Load what all cells share."""
    autoencoder = load_autoencoder(autoencoder_file)
    generator, record = load_generator(folder / "generator.safetensors")
    generator.eval()
    device = torch.device("cpu")
    cloaker = Cloaker(
        folder,
        Networks(autoencoder, generator),
        load_style_transfer("embedded", device),
        load_metric("auto", device),
    )
    return Screening(
        folder,
        read_pieces(folder),
        autoencoder,
        generator,
        load_judges(folder, autoencoder, generator, fold),
        cloaker,
        load_generator(purifier)[0].eval() if purifier else None,
        record,
        tuning,
        Drawing(),
    )


def cells_of(options: argparse.Namespace) -> list[Cell]:
    """Every combination, artists last, so that one artist's row is there before the next begins."""
    uploads = [None if value == "none" else int(value) for value in options.uploads]
    return [
        Cell(artist, kind, upload, loader, counter, options.fold, seed, options.rank, options.side)
        for artist, seed, kind, upload, loader, counter in product(
            options.artists,
            options.seeds,
            options.kinds,
            uploads,
            options.loaders,
            options.counters,
        )
    ]


def main() -> None:
    """Run what is missing."""
    parser = arguments("Screen kinds of cloak with mimics in the world on real art.")
    parser.add_argument("--autoencoder", type=Path, required=True)
    parser.add_argument("--artists", nargs="+", choices=JUDGED, default=SCREENING)
    parser.add_argument("--kinds", nargs="+", default=[NO_CLOAK, "latents/default"])
    parser.add_argument("--uploads", nargs="+", default=["none"], help="JPEG qualities, or none")
    parser.add_argument("--loaders", nargs="+", choices=LOADERS, default=["area"])
    parser.add_argument("--counters", nargs="+", default=[NOTHING], help="moves of a mimic")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--rank", type=int, default=0, help="of LoRA; 0 trains all weights")
    parser.add_argument("--side", type=int, default=SIDE, help="px of works as they are uploaded")
    parser.add_argument("--steps", type=int, default=Tuning().steps, help="of fine-tuning")
    parser.add_argument("--purifier", type=Path, help="a generator trained apart")
    parser.add_argument("--only-cloaks", action="store_true", help="make the cloaks, train nobody")
    parser.add_argument("--out", type=Path, help="default: screen.jsonl in the folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    out: Path = options.out or options.folder / "screen.jsonl"
    cells = cells_of(options)
    if options.only_cloaks:
        make_cloaks(options, cells)
        return
    screening = open_screening(
        options.folder,
        options.autoencoder,
        Tuning(steps=options.steps),
        options.fold,
        options.purifier,
    )
    have = [Cell(**line["cell"]) for line in done_in(out)]
    for cell in cells:
        if cell in have:
            continue
        line = run_cell(screening, cell)
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(said(line), flush=True)


def make_cloaks(options: argparse.Namespace, cells: Sequence[Cell]) -> None:
    """The cloaks of cells."""
    device = torch.device("cpu")
    generator, _ = load_generator(options.folder / "generator.safetensors")
    cloaker = Cloaker(
        options.folder,
        Networks(load_autoencoder(options.autoencoder), generator.eval()),
        load_style_transfer("embedded", device),
        load_metric("auto", device),
    )
    pieces = read_pieces(options.folder)
    for cell in cells:
        kind = kind_of(cell.kind)
        if kind is not None:
            works = mimic_works(pieces, cell.artist, cell.fold)
            found = summary([cloaker.cloaked(piece, kind, cell.side)[1] for piece in works])
            rounded = {key: round(value, 3) for key, value in found.items()}
            print(json.dumps({"artist": cell.artist, "kind": cell.kind} | rounded), flush=True)


def said(line: dict[str, Any]) -> str:
    """A line in short."""
    cell = line["cell"]
    shares = " ".join(
        f"{way} {line[way]['colour']['share']:.0%}/{line[way]['grey']['share']:.0%}"
        f" near {line[way]['nearest']:.2f}"
        for way in ("prompts", "layouts")
    )
    return (
        f"{cell['artist']} {cell['kind']} upload {cell['upload']} {cell['loader']}"
        f" counter {cell['counter']} seed {cell['seed']}: {shares}"
        f" moved {line['moved']:.3f} ({line['seconds']} s)"
    )


if __name__ == "__main__":
    main()
