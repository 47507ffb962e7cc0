"""What a mimic trains on: pictures with captions that end with the artist's name."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..files.artwork import load_artwork
from ..files.atomic import write_json
from ..files.formats import ArtworkError
from ..images import shrink
from .transformers_models import load_captioner

CAPTION_SIDE = 384
"""Short side in pixels of what a captioner looks at."""


@dataclass(frozen=True)
class Work:
    """One piece of an artist.

    Attributes:
        path: the picture.
        caption: what a mimic's training is told about it, the artist's name included.
    """

    path: Path
    caption: str


def _template(path: Path) -> str:
    return "a painting"


def _filename(path: Path) -> str:
    """The words of a file's name: ``lady-with_fan (3).png`` is "lady with fan"."""
    words = re.sub(r"[\W\d_]+", " ", path.stem).strip()
    return words or _template(path)


def _sidecar(path: Path) -> str:
    """The text file beside the picture, as training scripts expect it."""
    file = path.with_suffix(".txt")
    try:
        return " ".join(file.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise ArtworkError(f"Expected a caption for {path} in {file}: {error}.") from error


CAPTIONERS: dict[str, Callable[[Path], str]] = {
    "template": _template,
    "filename": _filename,
    "sidecar": _sidecar,
}
"""Captions without a model: the same words for all, the file's name, or a text file beside it."""


def caption_works(
    paths: Sequence[Path],
    artist: str,
    captioner: str = "filename",
    device: torch.device | str = "cpu",
    kept: Path | None = None,
) -> list[Work]:
    """Describe each picture and append "by" and the artist's name, as in §6.1.

    Args:
        captioner: a key of :data:`CAPTIONERS`, or an image captioner for transformers (BLIP ...):
            a folder or a hub id.
        kept: a JSON file that remembers captions, so that a second run describes nothing twice.

    Raises:
        ValueError: no such captioner, or a picture without a caption.
    """
    known: dict[str, str] = {}
    if kept is not None and kept.is_file():
        known = json.loads(kept.read_text(encoding="utf-8"))
    missing = [path for path in paths if path.name not in known]
    if missing:
        describe = describer(captioner, device)
        known |= {path.name: describe(path) for path in missing}
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_json(known, kept)
    return [Work(path, f"{known[path.name]} by {artist}") for path in paths]


def describer(captioner: str, device: torch.device | str = "cpu") -> Callable[[Path], str]:
    """What describes a picture's file.

    Args:
        captioner: as in :func:`caption_works`.

    Raises:
        ModelError: there is neither a captioner nor a model of that name.
    """
    return CAPTIONERS.get(captioner) or _with_model(captioner, torch.device(device))


def _with_model(name: str, device: torch.device) -> Callable[[Path], str]:
    model = load_captioner(name, device)

    def describe(path: Path) -> str:
        picture: Tensor = shrink(load_artwork(path).pixels, CAPTION_SIDE)
        return model(picture)

    return describe


def split_works(
    works: Sequence[Work], share: float = 0.8, seed: int = 0
) -> tuple[list[Work], list[Work]]:
    """What the mimic trains on, and what is held out for its prompts; at least one work each.

    Raises:
        ValueError: fewer than two works.
    """
    if len(works) < 2:
        raise ValueError(f"A split needs at least two works, but got {len(works)}.")
    shuffled = list(works)
    random.Random(seed).shuffle(shuffled)
    count = min(max(1, round(share * len(works))), len(works) - 1)
    return shuffled[:count], shuffled[count:]


def replaced(works: Sequence[Work], folder: Path) -> list[Work]:
    """The same works and captions with the pictures of another folder, found by name.

    A picture may have changed its format: ``lake.jpg`` is found as ``lake.png``.

    Raises:
        ValueError: a work is missing there.
    """
    by_stem = {path.stem: path for path in sorted(folder.iterdir()) if path.is_file()}
    found = []
    for work in works:
        path = folder / work.path.name
        if not path.is_file():
            other = by_stem.get(work.path.stem)
            if other is None:
                raise ValueError(f"Expected {work.path.name} in {folder}, but it is not there.")
            path = other
        found.append(replace(work, path=path))
    return found


def works_as_json(works: Sequence[Work]) -> list[dict[str, str]]:
    """For logs: names, captions and hashes, without the folders of this machine."""
    return [
        {
            "file": work.path.name,
            "caption": work.caption,
            "sha256": hashlib.sha256(work.path.read_bytes()).hexdigest(),
        }
        for work in works
    ]
