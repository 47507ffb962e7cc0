"""What a folder holds beside the pictures that are worked on, told so that nothing is missed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .formats import SUFFIXES, kind_of, named, read_head
from .other_kinds import other_kind

_SHOWN = 5  # names in a sentence


@dataclass(frozen=True)
class PassedOver:
    """Files of one kind that a search of folders leaves out.

    Attributes:
        kind: what they are, in the singular with its article.
        advice: what to do with them.
        names: below the folder that was searched.
    """

    kind: str
    advice: str
    names: tuple[Path, ...]

    @property
    def sentence(self) -> str:
        """How many there are, the first of their names, and what to do."""
        kind = self.kind.removeprefix("a ").removeprefix("an ")
        if len(self.names) > 1:
            first, *rest = kind.split(" without ")  # the noun that takes the plural comes first
            kind = " without ".join([first + "s", *rest])
        shown = [named(name) for name in self.names[:_SHOWN]]
        more = " ..." if len(self.names) > _SHOWN else ""
        return f"Passed over: {len(self.names)} {kind} ({', '.join(shown)}{more}): {self.advice}."


def passed_over(sources: Sequence[Path]) -> list[PassedOver]:
    """What :func:`comfy_glaze.files.finding.find_artworks` leaves out of the folders among
    ``sources``, by kind, with hidden files counted as no files.

    Files that cannot be read, and those that are no pictures, are not told.
    """
    found: dict[tuple[str, str], list[Path]] = {}
    for source in sources:
        if os.path.isdir(source):
            for path in _others_in(source):
                with suppress(OSError):
                    if (words := _words(path)) is not None:
                        found.setdefault(words, []).append(path.relative_to(source))
    return [PassedOver(*words, tuple(sorted(names))) for words, names in found.items()]


def _others_in(top: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in folders if Path(folder, name).is_symlink())
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))


def _words(path: Path) -> tuple[str, str] | None:
    """What a file is and what to do with it; None for what is worked on, or is no picture."""
    known = path.suffix.lower() in SUFFIXES
    if path.is_symlink():
        if path.is_dir() or known:
            return "a symbolic link", "name the file or folder itself"
        return None
    if known or not path.is_file():
        return None
    head = read_head(path)
    if kind_of(head, path.suffix) is not None:
        return "a picture without a usual ending", "let the name end in .png, .jpg or the like"
    return other_kind(path.suffix, head)
