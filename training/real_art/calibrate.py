"""Fit how large a fall goes with how much a cloak covers, and write what the program predicts by.

    python -m training.real_art.calibrate docs/real-art-world/screen-5.jsonl \\
        docs/real-art-world/screen-6.jsonl --commit COMMIT

A drawing is in the style or not as the colour judge says; its log-odds are the artist's own without
a cloak, less the artist's slope times the share of places that the cloak covers.  All are fitted
together, and drawn a little towards their means.  Lines with an upload and the main loader count,
from prompts, where the mimic undid nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from comfy_glaze.cloaking import effect

from .counter_moves import NOTHING
from .screen import NO_CLOAK
from .tables import hits, read_lines

PENALTY, SLOPE_PENALTY = 0.5, 0.03
"""Of starts and of slopes around their means, so that shares of 0 and 1 have finite log-odds, and
an artist of whose works little was covered has a slope like the others'.  Slopes differ by several
units, so theirs counts less."""


FOUND = 0.7
"""The least share of an artist's uncloaked mimics' drawings in the style: of others a fall says
little."""


def usable(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines that count, of artists whom uncloaked mimics learned, and who have cloaked ones."""
    wanted = {"upload": effect.UPLOAD_QUALITY, "loader": "area", "counter": NOTHING, "rank": 0}
    lines = [line for line in lines if wanted.items() <= line["cell"].items()]
    plain = [line for line in lines if line["cell"]["kind"] == NO_CLOAK]
    found = {own["cell"]["artist"] for own in plain if own["prompts"]["colour"]["share"] >= FOUND}
    found &= {line["cell"]["artist"] for line in lines if line not in plain}
    return [line for line in lines if line["cell"]["artist"] in found]


def fitted(
    changes: np.ndarray, found: np.ndarray, tried: np.ndarray, artists: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Starts and slopes of all artists, whose numbers are in ``artists``."""
    count = int(artists.max()) + 1

    def cost(values: np.ndarray) -> float:
        starts, slopes = values[:count], values[count:]
        odds = starts[artists] - slopes[artists] * changes
        missed = tried - found
        log = -(found * np.logaddexp(0, -odds) + missed * np.logaddexp(0, odds)).sum()
        apart, steeper = (((own - own.mean()) ** 2).sum() for own in (starts, slopes))
        return float((PENALTY * apart + SLOPE_PENALTY * steeper) / 2 - log)

    best = minimize(cost, np.repeat([2.0, 1.0], count), method="BFGS").x
    return best[:count], best[count:]


def calibrated(lines: Sequence[dict[str, Any]], commit: str) -> dict[str, Any]:
    """What ``calibration.json`` holds."""
    lines = usable(lines)
    names = sorted({line["cell"]["artist"] for line in lines})
    changes = np.array(
        [0.0 if line["cell"]["kind"] == NO_CLOAK else line["covered"] for line in lines]
    )
    of = np.array([names.index(line["cell"]["artist"]) for line in lines])
    drawings = [hits(line, "prompts", "colour") for line in lines]
    found, tried = (np.array([measure(own) for own in drawings]) for measure in (sum, len))
    starts, slopes = fitted(changes, found, tried, of)
    both = zip(names, starts, slopes, strict=True)
    return {
        "start": round(float(logit(expit(starts).mean())), 3),
        "slope": round(float(slopes.mean()), 3),
        "largest": round(float(changes.max()), 3),
        "artists": {name: [round(start, 3), round(slope, 3)] for name, start, slope in both},
        "commit": commit,
    }


def main() -> None:
    """Write the program's file."""
    parser = argparse.ArgumentParser(description="Fit what the program predicts an effect by.")
    parser.add_argument("lines", type=Path, nargs="+")
    parser.add_argument("--commit", required=True, help="of the lines")
    options = parser.parse_args()
    found = calibrated(read_lines(options.lines), options.commit)
    target = Path(effect.__file__).with_name("calibration.json")
    target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
