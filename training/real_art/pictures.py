"""The world's works: squares, whose hand they are by, and the words of their titles."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from torch import Tensor

from comfy_glaze.images import to_grid

from .loaders import area
from .world import SIDE, hand

_OFTEN = 5  # titles that must hold a word before the generator learns it


@dataclass(frozen=True)
class Piece:
    """A work.

    Attributes:
        path: of its square.
        hand: the artist, see :func:`world.hand`.
        title: as the source gives it.
    """

    path: Path
    hand: str
    title: str


def read_pieces(folder: Path) -> list[Piece]:
    """All works of ``manifest.csv``, in its order."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return [
            Piece(
                folder / "squares" / row["file"], hand(row["artist"], row["medium"]), row["title"]
            )
            for row in csv.DictReader(file)
        ]


def load_square(path: Path, side: int = SIDE) -> Tensor:
    """(1, 3, side, side) in [0, 1], on the grid of 8 bits, with areas averaged."""
    with Image.open(path) as file:
        levels = np.array(file.convert("RGB"))
    square = torch.from_numpy(levels).permute(2, 0, 1)[None].float() / 255
    return square if square.shape[-1] == side else to_grid(area(square, side))


def words_of(title: str) -> list[str]:
    """A title's words without the book's name, stop words and endings of the plural."""
    shown = title.split(":", 1)[-1].casefold()
    found = re.findall(r"[a-z]{3,}", shown.replace("’s", "").replace("'s", ""))
    plain = (word[:-1] if word.endswith("s") and len(word) > 4 else word for word in found)
    return list(dict.fromkeys(word for word in plain if word not in ENGLISH_STOP_WORDS))


def vocabulary(pieces: Sequence[Piece]) -> list[str]:
    """The words that enough titles hold, in alphabetical order."""
    count = Counter(word for piece in pieces for word in words_of(piece.title))
    return sorted(word for word, times in count.items() if times >= _OFTEN)
