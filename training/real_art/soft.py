"""A trial: works without fine detail, as enlarged or soft pictures are, at the mimic's own size.

    python -m training.real_art.soft --autoencoder taef2.safetensors --folder FOLDER --out soft.jsonl

Every work is made 64 px and enlarged to 128 px before it is cloaked.  Give it a folder of its own,
since cloaks are kept in it.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from comfy_glaze.images import to_grid

from . import cloaks, screen
from .mimic import Tuning
from .pictures import load_square
from .world import arguments


def soft(path: Path, side: int = 128) -> Tensor:
    """A work without fine detail; what was cloaked already as it is."""
    square = load_square(path, side)
    if "squares" not in path.parts:
        return square
    small = F.interpolate(square, size=(side // 2, side // 2), mode="area")
    return to_grid(F.interpolate(small, size=(side, side), mode="bicubic").clamp(0, 1))


def main() -> None:
    parser = arguments("Screen cloaks of soft works.")
    parser.add_argument("--autoencoder", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    screen.load_square = cloaks.load_square = soft
    screening = screen.open_screening(options.folder, options.autoencoder, Tuning(), 0)
    for kind in ("none", "beyond sent latents/default", "beyond sent latents/strong"):
        for artist in ("rackham", "denslow", "greenaway", "crane"):
            cell = screen.Cell(artist, kind, upload=85, side=128)
            line = screen.run_cell(screening, cell)
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(screen.said(line), flush=True)


if __name__ == "__main__":
    main()
