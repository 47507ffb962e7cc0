"""The world on real art: who is in it, and how large everything is, for the scripts beside this.

Thirteen illustrators with one hand each.  A generator learns those that nobody mimics; a mimic then
fine-tunes it on up to twenty works of an artist whom it has never seen, as the small world's do, so
that whatever it draws in that artist's style it has learned from the works it was given.
"""

from __future__ import annotations

import argparse
from pathlib import Path

SIDE = 256
"""Pixels of a work as it is cloaked and uploaded."""

TRAINED = 128
"""Pixels at which a mimic trains: half of the work's, as 1,024 px are trained at 512."""

SCREENING = ("crane", "greenaway")
"""Artists on whom kinds of cloak are compared first."""

CONFIRMATION = ("denslow", "hoffmann", "rackham", "tenniel")
"""Artists for the final choice, whom no screening has used: flat colour twice, painting, line."""

MIMICKED = SCREENING + CONFIRMATION
"""Whose works the committed generator has never seen."""

SECOND = ("potter", "neill", "brooke", "willcox-smith")
"""Whose works the second generator has never seen, and no choice was made on: watercolours, and
line drawings by three hands."""

LEFT_OUT = {
    "rackham": ("rackham, line",),
    "neill": ("neill, colour",),
    "willcox-smith": ("willcox-smith, colour",),
}
"""What an artist who is mimicked has made in another medium: no generator of theirs sees it, and
no judge knows it."""

JUDGED = (
    "brooke",
    "crane",
    "denslow",
    "dore",
    "greenaway",
    "hoffmann",
    "kipling",
    "neill",
    "potter",
    "rackham",
    "tenniel",
    "vangogh",
    "willcox-smith",
)
"""The hands that the judges tell apart."""

_TWO_HANDS = {  # artists with works in both media, and the medium that their name stands for
    "neill": "line/monochrome",
    "rackham": "colour",
    "willcox-smith": "line/monochrome",
}


def hand(artist: str, medium: str) -> str:
    """An artist's name, and the medium where it is not the one that the name stands for."""
    usual = _TWO_HANDS.get(artist, medium)
    return artist if medium == usual else f"{artist}, {medium.split('/')[0]}"


def arguments(description: str) -> argparse.ArgumentParser:
    """What every script takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--folder", type=Path, default=Path("training/world-art"))
    return parser
