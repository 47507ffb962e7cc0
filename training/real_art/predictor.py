"""What foretells how far mimics fall: candidates compared on the lines that ``screen.py`` wrote.

    python -m training.real_art.predictor docs/real-art-world/screen*.jsonl

A fall is that of the mean log-odds of the artist's name against "no cloak", paired drawing by
drawing, over both ways of drawing and one judge.  Each candidate is a measure that an artist's own
machine can take of the cloaked works, with no mimic.  Printed are the rank correlations (Spearman)
with 95% intervals by a bootstrap over artists and kinds together (a line is redrawn only with all
of its artist's and of its kind's), and how well the mimics agree with themselves: the correlation
of falls by one half of the drawings with falls by the other, corrected for the halves' length
(Spearman and Brown).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from .calibrate import usable
from .judges import SIGHTS
from .screen import NO_CLOAK
from .tables import WAYS, pairs_of, read_lines

CANDIDATES = (
    "covered",
    "changed",
    "moved",
    "smaller",
    "decoded_loaded",
    "shift_loaded",
    "shift",
    "decoded",
    "rms",
)
"""``covered``, ``changed`` and ``moved`` are of the latents that the mimic learns from, after
upload and loader: the share of places with more change than structure, which the program predicts
by; how large the change of structure is; and how far the latents moved.  ``smaller`` is the smaller
of the last two, since each can be led without the other.  The others are of the cloaked files (see
``cloaks.py``)."""

PREDICTED_BY, COMPARED_WITH = "covered", "shift"

ROUNDS = 2000


def fall_of(
    plain: dict[str, Any], line: dict[str, Any], sight: str, part: slice = slice(None)
) -> float:
    """The mean fall of log-odds over the drawings of a part of each way."""
    falls = [
        one - other
        for way in WAYS
        for one, other in zip(
            plain[way][sight]["log_odds"][part], line[way][sight]["log_odds"][part], strict=True
        )
    ]
    return float(np.mean(falls))


def measure_of(line: dict[str, Any], candidate: str) -> float:
    """A candidate's value for a line."""
    if candidate == "smaller":
        return min(float(line["changed"]), float(line["moved"]))
    value = line[candidate] if candidate in line else line["cloaks"][candidate]
    return float(value)


def all_have(lines: Sequence[dict[str, Any]], candidate: str) -> bool:
    """Whether lines have a candidate; those of the first four rounds know no ``covered``."""
    return candidate == "smaller" or all(
        candidate in line or candidate in line["cloaks"] for line in lines
    )


def redrawn(groups: Sequence[np.ndarray], falls: np.ndarray) -> Iterator[np.ndarray]:
    """The lines of each round of a bootstrap over two crossed groupings."""
    random = np.random.default_rng(0)
    for _ in range(ROUNDS):
        weights = np.ones(len(falls), dtype=int)
        for group in groups:
            names = np.unique(group)
            drawn = random.choice(names, len(names))
            weights *= np.array([(drawn == name).sum() for name in group])
        chosen = np.repeat(np.arange(len(falls)), weights)
        if len(set(falls[chosen])) > 2:
            yield chosen


def correlations(
    measures: np.ndarray, falls: np.ndarray, rounds: Sequence[np.ndarray]
) -> np.ndarray:
    """Spearman's ρ of all lines, then of each round's."""
    parts = (np.arange(len(falls)), *rounds)
    return np.array([spearmanr(measures[part], falls[part]).statistic for part in parts])


def said(values: np.ndarray) -> str:
    """The first value, and the 95% interval that the others give."""
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    return f"{values[0]:.2f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    """Print a table for each judge."""
    parser = argparse.ArgumentParser(description="What foretells a mimic's fall.")
    parser.add_argument("lines", type=Path, nargs="+")
    lines = usable(read_lines(parser.parse_args().lines))
    pairs = pairs_of([line for line in lines if line["cell"]["kind"] != NO_CLOAK], lines)
    groups = [np.array([line["cell"][key] for _, line in pairs]) for key in ("artist", "kind")]
    for sight in SIGHTS:
        falls = np.array([fall_of(plain, line, sight) for plain, line in pairs])
        halves = [
            np.array([fall_of(plain, line, sight, slice(first, None, 2)) for plain, line in pairs])
            for first in (0, 1)
        ]
        half = float(spearmanr(*halves).statistic)
        agreed = 2 * half / (1 + half)
        print(f"\n{len(falls)} models, {sight} judge; mimics with themselves {agreed:.2f}")
        print("| measure | rank correlation with the fall |\n|---|---|")
        rounds = list(redrawn(groups, falls))
        found = {}
        for candidate in filter(partial(all_have, [line for _, line in pairs]), CANDIDATES):
            measures = np.array([measure_of(line, candidate) for _, line in pairs])
            found[candidate] = correlations(measures, falls, rounds)
            print(f"| {candidate} | {said(found[candidate])} |")
        if PREDICTED_BY in found:
            better = found[PREDICTED_BY] - found[COMPARED_WITH]
            print(f"{PREDICTED_BY} less {COMPARED_WITH}: {said(better)}")


if __name__ == "__main__":
    main()
