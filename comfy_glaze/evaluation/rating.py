"""A rating kit: what artists say of mimicry, the paper's main measure (Glaze, §6.2).

Each part of a page shows four originals and four pictures that a model drew, and asks how well the
protection worked.  Pages are blinded (no file name, order or text tells the scenario) and in random
order for each rater.  A rater opens one HTML file and saves one CSV file; the key stays behind.
"""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import random
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..files.atomic import atomic_write, write_json
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
        sections = []
        for number in hand:
            code, attempt = secrets.token_hex(6), attempts[number]
            originals = order.sample(attempt.originals, PICTURES)
            drawn = order.sample(attempt.drawn, PICTURES)
            sections.append(_section(code, originals, drawn))
            key[code] = {
                "rater": rater,
                "artist": attempt.artist,
                "scenario": attempt.scenario,
                "originals": [path.name for path in originals],
                "drawn": [path.name for path in drawn],
            }
        page = folder / f"rater-{rater:02d}.html"
        with atomic_write(page) as temporary:
            temporary.write_text(_page(rater, sections), encoding="utf-8")
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


# --- the page ------------------------------------------------------------------------------------


def _embedded(path: Path) -> str:
    """A picture as data, re-encoded, so that no name and no metadata reach the rater."""
    with Image.open(path) as file:
        picture = file.convert("RGB")
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def _row(title: str, pictures: Sequence[Path]) -> str:
    images = "".join(f'<img alt="" src="{_embedded(path)}">' for path in pictures)
    return f"<h3>{html.escape(title)}</h3><div class=row>{images}</div>"


def _section(code: str, originals: Sequence[Path], drawn: Sequence[Path]) -> str:
    choices = "".join(
        f'<label><input type=radio name="{code}" value={number}> {html.escape(level)}</label>'
        for number, level in enumerate(LEVELS, start=1)
    )
    return (
        f"<section>{_row('By the artist', originals)}"
        f"{_row('By a model that tries to mimic the artist', drawn)}"
        "<p>A tool tried to keep the model from mimicking the artist's style. "
        f"How successful was it?</p><fieldset>{choices}</fieldset></section>"
    )


def _page(rater: int, sections: Sequence[str]) -> str:
    return f"""<!doctype html>
<html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>Rating {rater:02d}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto }}
body {{ max-width: 72rem; padding: 0 1rem }}
section {{ border-top: 1px solid #ccc; margin: 2rem 0; padding-top: 1rem }}
.row {{ display: grid; gap: 8px; grid-template-columns: repeat({PICTURES}, 1fr) }}
img {{ width: 100%; aspect-ratio: 1; object-fit: contain; background: #f4f4f4 }}
fieldset {{ border: 0; display: flex; flex-wrap: wrap; gap: 1rem; padding: 0 }}
</style>
<h1>Does the mimicry succeed?</h1>
<p>Each part shows {PICTURES} pictures by an artist and {PICTURES} by a model that was trained to
paint like that artist. Judge the style, and whether the model's pictures would pass for the
artist's. Nothing leaves your computer until you save the file at the end and send it back.</p>
{"".join(sections)}
<p><button>Save my ratings</button> <span role=status></span></p>
<script>
document.querySelector("button").addEventListener("click", () => {{
  const groups = [...document.querySelectorAll("fieldset")];
  const chosen = groups.map((group) => group.querySelector("input:checked"));
  const missing = chosen.filter((input) => !input).length;
  if (missing) {{
    document.querySelector("[role=status]").textContent = `${{missing}} are not rated yet.`;
    return;
  }}
  const rows = chosen.map((input) => `${{input.name}},${{input.value}}`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([["attempt,rating", ...rows].join("\\n") + "\\n"]));
  link.download = "rater-{rater:02d}.csv";
  link.click();
}});
</script>
</html>
"""
