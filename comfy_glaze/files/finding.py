"""Pictures among files and folders, found by their names; nothing is read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from .formats import SUFFIXES, ArtworkError, named


def find_artworks(sources: Sequence[Path], exclude: Sequence[str] = ()) -> list[tuple[Path, Path]]:
    """Each picture file under ``sources`` with its path relative to what was named.

    Files are taken as named.  Folders are searched to the bottom for known suffixes, sorted by
    path; hidden files and folders, and symbolic links inside a folder, are passed over.

    Args:
        exclude: patterns such as ``*.jpg``, ``drafts`` or ``drafts/*.png``; what matches one, by
            its name or by its path below the folder that was named, is left out, and of a folder
            all that is in it.

    Raises:
        ArtworkError: a source is missing, cannot be read, or is a folder without pictures.
    """
    found: list[tuple[Path, Path]] = []
    for source in sources:
        if not os.path.exists(source):
            raise ArtworkError(f"{named(source)}: expected a file or folder, but there is none.")
        inside = sorted(_pictures_in(source)) if os.path.isdir(source) else [source]
        if not inside:
            raise ArtworkError(f"{named(source)}: expected pictures in it, but there are none.")
        top = source if os.path.isdir(source) else source.parent
        named_below = [(path, path.relative_to(top)) for path in inside]
        found += [pair for pair in named_below if not _is_excluded(pair[1], exclude)]
    return found


def _pictures_in(top: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise ArtworkError(f"{named(error.filename)} cannot be read: {error.strerror}.") from error

    for folder, folders, files in os.walk(top, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(folder, name) for name in files if not name.startswith(".")):
            if path.suffix.lower() in SUFFIXES and not path.is_symlink():
                yield path


def _is_excluded(name: Path, patterns: Sequence[str]) -> bool:
    """Whether a picture's name, or that of a folder it is in, matches a pattern."""
    parts = [name, *list(name.parents)[:-1]]
    return any(
        fnmatchcase(text, pattern.rstrip("/"))
        for pattern in patterns
        for part in parts
        for text in (part.name, part.as_posix())
    )
