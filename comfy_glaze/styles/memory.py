"""The target style remembered for each artist, so that all their work is led to the same one.

One JSON file in the platform's config folder, ``target-styles.json``, serves the graph and the
command line alike.  It is private to the artist: who reads it knows which style their cloaks lead
towards.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..files.atomic import atomic_write
from ..files.formats import ArtworkError
from ..files.places import config_folder
from .bank import Style, StyleBankError
from .target import TargetStyle

LONGEST_ARTIST = 120
WAIT_SECONDS = 30


@dataclass(frozen=True)
class RememberedChoice:
    """What is remembered for one artist.

    Attributes:
        artist: the name as it was first given.
        target: the style, and where it lay when it was chosen.
        encoder: the name of the encoder it was chosen with, or None where it was named.
    """

    artist: str
    target: TargetStyle
    encoder: str | None


def memory_file() -> Path:
    """Where the choices are kept."""
    return config_folder() / "target-styles.json"


def artist_key(artist: str) -> str:
    """Artists are told apart by their names, but not by capitals, spaces or forms of accents.

    Raises:
        StyleBankError: no name, an overlong one, or control characters.
    """
    name = " ".join(unicodedata.normalize("NFKC", artist).split())
    if not name or len(name) > LONGEST_ARTIST or not name.isprintable():
        raise StyleBankError(
            f"An artist's name must be one line of at most {LONGEST_ARTIST} characters, "
            f"but got {artist[:60]!a}."
        )
    return name.casefold()


def remembered_choices() -> list[RememberedChoice]:
    """All choices, ordered by artist.

    Raises:
        StyleBankError: the file is there but cannot be read.
    """
    return [_choice(entry) for _, entry in sorted(_read().items())]


def remembered_choice(artist: str) -> RememberedChoice | None:
    """What is remembered for an artist, or None.

    Raises:
        StyleBankError: no name of an artist, or the file cannot be read.
    """
    entry = _read().get(artist_key(artist))
    return None if entry is None else _choice(entry)


def remember_choice(
    artist: str, target: TargetStyle, encoder: str | None = None, *, replace: bool = True
) -> RememberedChoice:
    """Remember a target style for an artist.

    Args:
        replace: False keeps a choice that is there already, so that of several writers at once
            the first one counts for all.

    Returns:
        What is remembered now.

    Raises:
        StyleBankError: no name of an artist, or the file cannot be read.
        ArtworkError: it cannot be written.
    """
    key = artist_key(artist)
    with _writing() as entries:
        if replace or key not in entries:
            style = {"style": asdict(target.style)}
            where = {"distance": target.distance, "percentile": target.percentile}
            name = " ".join(artist.split())
            entries[key] = {"artist": name, **style, **where, "encoder": encoder}
        return _choice(entries[key])


def forget_choice(artist: str) -> RememberedChoice | None:
    """Forget the choice for an artist; returns what it was, or None if there was none.

    Raises:
        StyleBankError, ArtworkError: as for :func:`remember_choice`.
    """
    key = artist_key(artist)
    with _writing() as entries:
        entry = entries.pop(key, None)
        return None if entry is None else _choice(entry)


def target_for(
    artist: str, named: TargetStyle | None, draw: Callable[[], TargetStyle], encoder: str
) -> TargetStyle:
    """The target style of an artist's work, and remember it.

    Args:
        artist: the artist's name; empty remembers nothing.
        named: a style chosen by name, which from now on is the remembered one; None for automatic.
        draw: the automatic choice, asked for only where nothing is remembered.
        encoder: the encoder's name, for the record.

    Raises:
        StyleBankError, ArtworkError: as for :func:`remember_choice`.
    """
    if not artist.strip():
        return named or draw()
    before = remembered_choice(artist)
    if named is not None:
        if before is None or before.target.style != named.style:
            _remember_ours(artist, lambda: remember_choice(artist, named))
        return named
    if before is not None:
        return before.target
    drawn = draw()
    return _remember_ours(
        artist, lambda: remember_choice(artist, drawn, encoder, replace=False)
    ).target


_states: dict[str, tuple[dict[str, Any] | None, int]] = {}
"""Per artist, the entry last seen by this process and how often others had changed it by then."""


def choice_state(artist: str) -> str:
    """A text that changes whenever an artist's choice is changed or forgotten from elsewhere.

    A node's fingerprint includes it: what this process itself remembers (:func:`target_for`) leaves
    it as it is, since the node that remembered has that choice as its output already.
    """
    if not artist.strip():
        return ""
    key = artist_key(artist)
    entry = _read().get(key)
    seen, changes = _states.get(key, (entry, 0))
    if seen != entry:
        changes += 1
    _states[key] = entry, changes
    return str(changes)


def _remember_ours(artist: str, remember: Callable[[], RememberedChoice]) -> RememberedChoice:
    changes = choice_state(artist)
    choice = remember()
    key = artist_key(artist)
    _states[key] = _read().get(key), int(changes)
    return choice


def _read() -> dict[str, dict[str, Any]]:
    path = memory_file()
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["artists"]
        for entry in entries.values():
            _choice(entry)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StyleBankError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StyleBankError(
            f"{path}, where target styles are remembered, is damaged; mend it, or rename it and "
            "choose anew."
        ) from error
    found: dict[str, dict[str, Any]] = entries
    return found


def _choice(entry: dict[str, Any]) -> RememberedChoice:
    """One entry of the file.

    Raises:
        KeyError, TypeError, ValueError: it is not one.
    """
    style = {field.name: entry["style"][field.name] for field in fields(Style)}
    texts = [entry["artist"], style["name"], style["genre"], style["prompt"]]
    if not all(isinstance(text, str) and text for text in texts):
        raise ValueError("expected text")
    numbers = [entry["distance"], entry["percentile"], style["embedded"]]
    if not all(isinstance(number, (int, float, type(None))) for number in numbers):
        raise ValueError("expected numbers")
    target = TargetStyle(Style(**style), entry["distance"], entry["percentile"])
    return RememberedChoice(entry["artist"], target, entry["encoder"])


@contextmanager
def _writing() -> Iterator[dict[str, dict[str, Any]]]:
    """All entries, to be changed; written when the block ends, one process at a time."""
    path = memory_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=WAIT_SECONDS):
            entries = _read()
            yield entries
            text = json.dumps({"artists": entries}, indent=1, ensure_ascii=False, sort_keys=True)
            with atomic_write(path) as temporary:
                temporary.touch(0o600)
                temporary.write_text(text + "\n", encoding="utf-8")
    except OSError as error:  # a Timeout too
        raise ArtworkError(f"{path} cannot be written: {error.strerror or error}.") from error
