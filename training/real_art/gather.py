"""Gather the works that the committed manifest names, from their public repositories.

    python -m training.real_art.gather --out ART

fetches each repository at the commit in ``manifest.csv`` (git, github.com), cuts the pictures out
of their pages where the manifest says so, and writes ``ART/index.csv`` and the pictures, which
``collect.py`` cuts the squares from.  A source whose hash is not the manifest's is refused.  All
works are in the public domain in the USA, or CC0 as Standard Ebooks gives them; the manifest has
each one's licence.  What is there already is not fetched again.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from .collect import MANIFEST, read_manifest

SHORT_SIDE = 640
"""Pixels; larger pictures are scaled down."""


def fetch(repository: str, commit: str, place: Path) -> None:
    """One commit of a repository, with no history."""
    subprocess.run(["git", "init", "--quiet", "--bare", place], check=True)
    address = f"https://github.com/{repository}"
    subprocess.run(
        ["git", "-C", place, "fetch", "--quiet", "--depth=1", address, commit], check=True
    )


def picture_of(place: Path, row: dict[str, str]) -> Image.Image:
    """A file of a fetched commit, cut to ``left top right bottom`` where the row has a crop.

    Raises:
        ValueError: the file is not the one that the row's hash is of.
    """
    commit, path = row["source_commit"], row["source_path"]
    crop, sha256 = row["crop"], row["source_sha256"]
    shown = subprocess.run(
        ["git", "-C", place, "show", f"{commit}:{path}"], check=True, capture_output=True
    )
    found = hashlib.sha256(shown.stdout).hexdigest()
    if sha256 and found != sha256:
        raise ValueError(f"Expected {path} with the SHA-256 {sha256}, but it has {found}.")
    with Image.open(io.BytesIO(shown.stdout)) as file:
        picture = file.convert("RGB")
    if crop:
        left, top, right, bottom = (int(number) for number in crop.split())
        picture = picture.crop((left, top, right, bottom))
    scale = SHORT_SIDE / min(picture.size)
    if scale < 1:
        size = round(picture.width * scale), round(picture.height * scale)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return picture


def main() -> None:
    """Fetch what is missing, repository by repository."""
    parser = argparse.ArgumentParser(description="Gather the works of the manifest.")
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    rows = read_manifest(MANIFEST)
    missing = [row for row in rows if not (out / _name(row)).is_file()]
    sources = dict.fromkeys((row["source_repository"], row["source_commit"]) for row in missing)
    for repository, commit in sources:
        with tempfile.TemporaryDirectory() as scratch:
            fetch(repository, commit, Path(scratch))
            for row in missing:
                if (row["source_repository"], row["source_commit"]) == (repository, commit):
                    target = out / _name(row)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    picture = picture_of(Path(scratch), row)
                    picture.save(target)
        print(repository, flush=True)
    listed = [{**row, "file": _name(row)} for row in rows]
    for name, part in (("index.csv", listed), ("more.csv", [])):
        with (out / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(listed[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(part)


def _name(row: dict[str, str]) -> str:
    return str(Path(row["read_as"]).with_suffix(".png"))


if __name__ == "__main__":
    main()
