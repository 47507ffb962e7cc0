"""An artist's works as the choice of a style sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ..files.artwork import load_artwork
from ..files.formats import ArtworkError
from ..images import shrink
from ..networks.encoders import Encoder
from .bank import CENTROID_SIZE, StyleBank, centroid_of
from .target import TargetStyle, rank_styles


def read_pictures(paths: Sequence[Path]) -> list[Tensor]:
    """Those of the files that can be read, images (1, 3, H, W), at most 256 px on the short side.

    Raises:
        ArtworkError: none can be read; the first one's sentence.
    """
    pictures: list[Tensor] = []
    first_error: ArtworkError | None = None
    for path in paths:
        try:
            pictures.append(shrink(load_artwork(path).pixels, CENTROID_SIZE).clamp(0, 1))
        except ArtworkError as error:
            first_error = first_error or error
    if not pictures and first_error is not None:
        raise first_error
    return pictures


def evenly(paths: Sequence[Path], count: int) -> list[Path]:
    """At most ``count`` of the paths, evenly spread."""
    chosen = min(count, len(paths))
    return [paths[i * len(paths) // chosen] for i in range(chosen)]


WORKS_FOR_CENTROID = 50


def rank_works(bank: StyleBank, sources: Sequence[Path], encoder: Encoder) -> list[TargetStyle]:
    """The candidates as seen from an artist's works, nearest first.

    Raises:
        ArtworkError: none of the works can be read; the first one's sentence.
        StyleBankError: the bank was made for another encoder.
    """
    bank.check(encoder)
    works = small_works(works_for_centroid(sources))
    return rank_styles(bank, centroid_of(works, encoder, bank.statistic))


def works_for_centroid(sources: Sequence[Path]) -> Sequence[Path]:
    """The works that say what an artist's own style is: all, or at most
    :data:`WORKS_FOR_CENTROID`, evenly spread."""
    return sources[:: max(1, -(-len(sources) // WORKS_FOR_CENTROID))]


def small_works(sources: Sequence[Path]) -> list[Tensor]:
    """Works as the centroid sees them, images (1, 3, H, W); unreadable ones are passed over.

    Raises:
        ArtworkError: none of them can be read; the first one's sentence.
    """
    works: list[Tensor] = []
    first_error: ArtworkError | None = None
    for source in sources:
        try:
            works.append(shrink(load_artwork(source).pixels, CENTROID_SIZE))
        except ArtworkError as error:
            first_error = first_error or error
    if not works and first_error is not None:
        raise first_error
    return works
