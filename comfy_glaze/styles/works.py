"""An artist's works as the choice of a style sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from ..files.artwork import load_artwork
from ..files.formats import ArtworkError
from ..images import shrink
from ..networks.encoders import Encoder
from .bank import CENTROID_SIZE, StyleBank, centroid_of
from .target import TargetStyle, rank_styles

WORKS_FOR_CENTROID = 50
"""The most works that say what an artist's own style is."""

T = TypeVar("T")


class UnreadableWorksError(ArtworkError):
    """None of an artist's works can be read; its text is the first one's sentence.

    Attributes:
        sentences: one for each of them.
    """

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__(sentences[0])
        self.sentences = tuple(sentences)


def read_pictures(paths: Sequence[Path]) -> list[Tensor]:
    """Those of the files that can be read, images (1, 3, H, W), at most 256 px on the short side.

    Raises:
        UnreadableWorksError: none can be read.
    """
    pictures: list[Tensor] = []
    sentences: list[str] = []
    for path in paths:
        try:
            pictures.append(shrink(load_artwork(path, held=True).pixels, CENTROID_SIZE).clamp(0, 1))
        except ArtworkError as error:
            sentences.append(str(error))
    if sentences and not pictures:
        raise UnreadableWorksError(sentences)
    return pictures


def evenly(items: Sequence[T], count: int) -> list[T]:
    """At most ``count`` of the items, evenly spread, in their order."""
    chosen = min(count, len(items))
    return [items[i * len(items) // chosen] for i in range(chosen)]


def rank_works(bank: StyleBank, sources: Sequence[Path], encoder: Encoder) -> list[TargetStyle]:
    """The candidates as seen from an artist's works, nearest first.

    Of many works :data:`WORKS_FOR_CENTROID` count, evenly spread.

    Raises:
        UnreadableWorksError: none of the works can be read.
        StyleBankError: the bank was made for another encoder.
    """
    bank.check(encoder)
    works = read_pictures(evenly(sources, WORKS_FOR_CENTROID))
    return rank_styles(bank, centroid_of(works, encoder, bank.statistic))
