"""Cut the squares of the world on real art, and write their manifest.

    python -m training.real_art.collect --art ART --folder training/world-art

``ART`` holds ``index.csv``, ``more.csv`` and the pictures they name, as ``gather.py`` makes it from
public repositories.  Each work gives its middle square, 256 px, scaled down with Lanczos, as
``squares/ARTIST/NUMBER.png``.  What would give an artist away without any style is taken out: paper
becomes white and the darkest tone black, channel by channel, and works printed in one ink lose
their hue.  ``manifest.csv`` names each square's source, licence and hashes; the one that was
committed beside this file is compared with, so that everybody works on the same pictures.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .world import SIDE, arguments

LISTS = ("index.csv", "more.csv")
MANIFEST = Path(__file__).parent / "manifest.csv"
WHITE, BLACK = 0.97, 0.01  # quantiles of the square's values that become white and black
ONE_INK = "line/monochrome"

_KEPT = (
    "artist",
    "medium",
    "title",
    "source_repository",
    "source_commit",
    "source_path",
    "source_sha256",
    "licence",
    "crop",
)


def middle_square(picture: Image.Image) -> tuple[int, int, int]:
    """Left, top and side of the largest square in the middle."""
    side = min(picture.size)
    return (picture.width - side) // 2, (picture.height - side) // 2, side


def without_tint(pixels: NDArray[np.uint8], one_ink: bool) -> NDArray[np.uint8]:
    """Paper white, ink black: each channel's bright quantile to 1, the dark luma quantile to 0.

    Args:
        pixels: (H, W, 3).
        one_ink: whether hue is paper and not painting, and is dropped.
    """
    values = pixels.astype(np.float64) / 255
    luma = values @ np.array([0.299, 0.587, 0.114])
    if one_ink:
        values = np.repeat(luma[..., None], 3, axis=2)
    white = np.quantile(values, WHITE, axis=(0, 1))
    black = np.minimum(np.quantile(luma, BLACK), white - 0.1)
    stretched = (values - black) / (white - black)
    levels: NDArray[np.uint8] = (stretched.clip(0, 1) * 255).round().astype(np.uint8)
    return levels


def works_of(art: Path) -> Iterator[dict[str, str]]:
    """The rows of both lists; a work that is listed twice counts once."""
    seen: set[tuple[str, str, str]] = set()
    for name in LISTS:
        with (art / name).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                key = (row["source_repository"], row["source_path"], row["crop"])
                if key not in seen:
                    seen.add(key)
                    yield row


def cut(art: Path, folder: Path) -> list[dict[str, Any]]:
    """Write all squares; the manifest's rows."""
    rows: list[dict[str, Any]] = []
    count: dict[str, int] = {}
    for work in works_of(art):
        artist = work["artist"]
        source = art / work["file"]
        with Image.open(source) as file:
            picture = file.convert("RGB")
        left, top, side = middle_square(picture)
        square = picture.crop((left, top, left + side, top + side))
        small = np.asarray(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
        pixels = without_tint(small, work["medium"] == ONE_INK)
        count[artist] = count.get(artist, 0) + 1
        name = f"{artist}/{count[artist]:03d}.png"
        target = folder / "squares" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target)
        row: dict[str, Any] = {"file": name} | {key: work.get(key, "") for key in _KEPT}
        row["read_as"] = work["file"]
        row["sha256"] = hashlib.sha256(source.read_bytes()).hexdigest()
        row["square"] = f"{left} {top} {side}"
        row["square_sha256"] = hashlib.sha256(pixels.tobytes()).hexdigest()
        rows.append(row)
    return rows


def write_manifest(rows: list[dict[str, Any]], path: Path) -> None:
    """One line a square."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_manifest(path: Path) -> list[dict[str, str]]:
    """What :func:`write_manifest` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def differing(rows: list[dict[str, Any]], committed: list[dict[str, str]]) -> list[str]:
    """The files whose square is not the committed manifest's."""
    expected = {row["file"]: row["square_sha256"] for row in committed}
    found = {row["file"]: row["square_sha256"] for row in rows}
    names = sorted(expected.keys() | found.keys())
    return [name for name in names if expected.get(name) != found.get(name)]


def main() -> None:
    """Cut, write, compare."""
    parser = arguments("Cut the squares of the world on real art.")
    parser.add_argument("--art", type=Path, required=True, help="folder with index.csv, more.csv")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = cut(options.art, options.folder)
    write_manifest(rows, options.folder / "manifest.csv")
    print(f"{len(rows)} squares")
    if MANIFEST.is_file():
        others = differing(rows, read_manifest(MANIFEST))
        print(f"{len(others)} differ from the committed manifest: {', '.join(others[:5])}")


if __name__ == "__main__":
    main()
