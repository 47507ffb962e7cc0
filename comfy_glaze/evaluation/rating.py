"""A rating kit: what artists say of mimicry, the paper's main measure (Glaze, §6.2).

Each part of a page shows four originals and four pictures that a model drew, and asks how well the
protection worked.  Pages are blinded (no file name, order or text tells the scenario) and in random
order for each rater.  A rater opens one HTML file and saves one CSV file; the key stays behind.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import random
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..files.atomic import write_json
from ..files.html import write_html
from ..judges.intervals import Interval, share_interval

LEVELS = (
    "not successful at all",
    "not very successful",
    "somewhat successful",
    "successful",
    "very successful",
)
"""The paper's five; the last two count as success."""

SUCCESSFUL = 4
PICTURES = 4
_SIDE = 384  # px, the longest side on a page


@dataclass(frozen=True)
class Attempt:
    """One mimicry attempt, to be rated.

    Attributes:
        artist, scenario: what the statistic groups by; no rater sees the scenario.
        originals, drawn: four pictures each, or more to draw four from.
    """

    artist: str
    scenario: str
    originals: tuple[Path, ...]
    drawn: tuple[Path, ...]


def read_attempts(path: Path) -> list[Attempt]:
    """The attempts of a finished grid (``attempts.json``).

    Raises:
        ValueError: there is no such file, or it is none.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [
            Attempt(
                row["artist"],
                row["scenario"],
                tuple(Path(name) for name in row["originals"]),
                tuple(Path(name) for name in row["drawn"]),
            )
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"Expected the attempts of a finished grid in {path}: {error}.") from error


def make_kit(
    attempts: Sequence[Attempt], folder: Path, raters: int, per_rater: int, seed: int = 0
) -> list[Path]:
    """Write ``rater-01.html`` … and, beside the folder, the key that tells what was shown.

    Attempts are spread evenly: each is shown as often as any other, give or take one.

    Args:
        folder: gets the pages, to be handed to raters as it is.
        raters: how many pages.
        per_rater: attempts on a page; the paper asks for ten raters or more per attempt.
        seed: decides pictures and order.

    Raises:
        ValueError: an attempt has fewer than four pictures of a kind, or there are too few.
    """
    for attempt in attempts:
        if min(len(attempt.originals), len(attempt.drawn)) < PICTURES:
            raise ValueError(
                f"A page needs {PICTURES} originals and {PICTURES} drawn pictures of "
                f"{attempt.artist}, but got {len(attempt.originals)} and {len(attempt.drawn)}."
            )
    if not 1 <= per_rater <= len(attempts):
        raise ValueError(f"Expected 1 to {len(attempts)} attempts on a page, but got {per_rater}.")
    folder.mkdir(parents=True, exist_ok=True)
    order = random.Random(seed)
    deck: list[int] = []
    key: dict[str, dict[str, Any]] = {}
    pages = []
    for rater in range(1, raters + 1):
        hand: list[int] = []
        while len(hand) < per_rater:
            if not any(number not in hand for number in deck):
                fresh = list(range(len(attempts)))
                order.shuffle(fresh)
                deck += fresh
            pick = next(number for number in deck if number not in hand)
            deck.remove(pick)
            hand.append(pick)
        order.shuffle(hand)
        shown = []
        for number in hand:
            code, attempt = secrets.token_hex(6), attempts[number]
            originals = order.sample(attempt.originals, PICTURES)
            drawn = order.sample(attempt.drawn, PICTURES)
            rows = (
                ("By the artist", map(_embedded, originals)),
                ("By a model that tries to mimic the artist", map(_embedded, drawn)),
            )
            shown.append({"code": code, "rows": rows})
            key[code] = {
                "rater": rater,
                "artist": attempt.artist,
                "scenario": attempt.scenario,
                "originals": [path.name for path in originals],
                "drawn": [path.name for path in drawn],
            }
        page = folder / f"rater-{rater:02d}.html"
        values = {
            "rater": f"{rater:02d}",
            "attempts": shown,
            "levels": LEVELS,
            "pictures": PICTURES,
        }
        write_html(Path(__file__).with_name("rating.html.jinja"), values, page)
        pages.append(page)
    write_json(key, key_file(folder))
    return pages


def key_file(folder: Path) -> Path:
    """Where the key of a kit lies: beside the folder, never in it."""
    return folder.resolve().with_name(f"{folder.resolve().name}-key.json")


@dataclass(frozen=True)
class Success:
    """The paper's artist-rated protection success rate for a scenario.

    Attributes:
        rate: share of ratings of "successful" or "very successful"; the interval is over raters.
        counts: how often each of the five levels was chosen.
    """

    scenario: str
    rate: Interval
    counts: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def success_rates(answers: Sequence[Path], key: Path) -> list[Success]:
    """Read the raters' CSV files.

    Raises:
        ValueError: a file that is none of this kit's, or a rating out of range.
    """
    known = json.loads(key.read_text(encoding="utf-8"))
    ratings: dict[str, list[tuple[int, int]]] = {}
    seen: set[str] = set()
    for path in answers:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                code, level = row.get("attempt", ""), row.get("rating", "")
                if code not in known:
                    raise ValueError(f"{path.name}: {code!r} is no attempt of this kit.")
                if not level.isdigit() or not 1 <= int(level) <= len(LEVELS):
                    raise ValueError(
                        f"{path.name}: expected a rating from 1 to {len(LEVELS)}, but got {level}."
                    )
                if code in seen:
                    raise ValueError(f"{path.name}: {code} is rated twice.")
                seen.add(code)
                shown = known[code]
                ratings.setdefault(shown["scenario"], []).append((int(level), shown["rater"]))
    return [
        Success(
            scenario,
            share_interval([level >= SUCCESSFUL for level, _ in rows], [r for _, r in rows]),
            tuple(sum(level == n for level, _ in rows) for n in range(1, len(LEVELS) + 1)),
        )
        for scenario, rows in ratings.items()
    ]


def _embedded(path: Path) -> str:
    """A picture as data, re-encoded, so that no name and no metadata reach the rater."""
    with Image.open(path) as file:
        picture = file.convert("RGB")
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
