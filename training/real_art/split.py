"""Which works of an artist a mimic has, which the judges have, and what is drawn."""

from __future__ import annotations

import random
from collections.abc import Sequence

from .pictures import Piece

WORKS = 20
"""Of an artist that a mimic trains on, or half of them where there are fewer than forty."""


def mimic_works(pieces: Sequence[Piece], artist: str, fold: int) -> list[Piece]:
    """The works that a mimic of an artist has; two folds share none."""
    own, count = _shuffled(pieces, artist)
    if fold not in (0, 1):
        raise ValueError(f"Expected a fold of 0 or 1, but got {fold}.")
    return own[fold * count : (fold + 1) * count]


def held_out(pieces: Sequence[Piece], artist: str, fold: int) -> list[Piece]:
    """The artist's other works, whose titles are asked for."""
    theirs = mimic_works(pieces, artist, fold)
    return [piece for piece in _shuffled(pieces, artist)[0] if piece not in theirs]


def layouts(pieces: Sequence[Piece], known: Sequence[str], count: int) -> list[Piece]:
    """Works by hands that the generator knows, which are redrawn in a mimic's style."""
    others = [piece for piece in pieces if piece.hand in known]
    return random.Random(17).sample(others, count)


def _shuffled(pieces: Sequence[Piece], artist: str) -> tuple[list[Piece], int]:
    own = [piece for piece in pieces if piece.hand == artist]
    if len(own) < 2:
        raise ValueError(f"Expected at least two works by {artist}, but found {len(own)}.")
    random.Random(artist).shuffle(own)
    return own, min(WORKS, len(own) // 2)
