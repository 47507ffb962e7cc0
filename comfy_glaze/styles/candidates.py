"""Candidate target styles: the painters of WikiArt, or a list of the user's own.

The Glaze paper takes its 1,119 candidates from WikiArt by artist and genre, e.g. "Impressionism
painting by Monet".  The list here is that of Tan et al. (2019): 1,119 artists, 2,108 pairs of an
artist and a style.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from ..files.bundled import STYLES_FOLDER
from .bank import Style, StyleBank, StyleBankError, builtin_styles, find_style

MAX_LIST_BYTES = 4_000_000
_LONGEST = {"name": 120, "genre": 60, "artist": 120, "prompt": 500, "died": 20}
"""Columns of a user's list, and how many characters each may hold."""


@dataclass(frozen=True)
class Candidate:
    """A style that a bank can be built with, and what is known of it.

    Attributes:
        style: name, genre, artist and prompt.
        slug: WikiArt's name of the artist, which its files begin with; empty in a user's list.
        listed_as: the artist's name as the list has it, before corrections.
        works: how many works in this style the list counts; 0 in a user's list.
        maybe_living: whether the artist may be living: no year of death was found.
        offered: whether the style may be drawn by chance.
    """

    style: Style
    slug: str
    listed_as: str
    works: int
    maybe_living: bool
    offered: bool = True


def style_by(artist: str, genre: str) -> Style:
    """The style of one painter in one genre, with the paper's prompt."""
    kind = genre if genre.endswith("Painting") else f"{genre} painting"
    return Style(f"{artist} ({genre})", genre, artist, f"{kind} by {artist}", None)


def _table(name: str) -> list[dict[str, str]]:
    text = (STYLES_FOLDER / name).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def genre_names() -> dict[str, str]:
    """WikiArt's genres, from the names of its folders to those shown to people."""
    return {row["wikiart"]: row["name"] for row in _table("genres.csv")}


@lru_cache(maxsize=2)
def wikiart_candidates(all_styles: bool = False) -> tuple[Candidate, ...]:
    """WikiArt's 1,119 artists, each in the style they painted most, ordered by name.

    Among styles with equally many works the first in the alphabet counts.  Names are those of the
    list with the corrections of ``data/corrections.csv``, genres those of ``styles/genres.csv``.

    Args:
        all_styles: every style that an artist painted in, 2,108 in all.
    """
    genres = genre_names()
    names = {row["artist_slug"]: row["name"] for row in _table("corrections.csv")}
    living = {row["artist_slug"] for row in _table("maybe_living.csv")}
    left_out = {row["artist_slug"] for row in _table("never_drawn.csv")}
    most: dict[str, Candidate] = {}
    found = []
    for row in _table("wikiart.csv"):
        slug, listed_as = row["artist_slug"], row["artist"]
        style = style_by(names.get(slug, listed_as), genres[row["style"]])
        candidate = Candidate(
            style, slug, listed_as, int(row["images"]), slug in living, slug not in left_out
        )
        found.append(candidate)
        if slug not in most or candidate.works > most[slug].works:
            most[slug] = candidate
    return tuple(found if all_styles else most.values())


def find_genres(candidates: Iterable[Candidate], wanted: Sequence[str]) -> set[str]:
    """The candidates' own spellings of genres, capitals, hyphens and accents aside.

    Raises:
        StyleBankError: no candidate has such a genre; the sentence lists those there are.
    """
    known = {plain(c.style.genre): c.style.genre for c in candidates}
    for genre in wanted:
        if plain(genre) not in known:
            raise StyleBankError(
                f"There is no genre {genre!r} among the styles; "
                f"there are {', '.join(sorted(set(known.values())))}."
            )
    return {known[plain(genre)] for genre in wanted}


def plain(text: str) -> str:
    """Letters and digits of a name alone: no accents, capitals, spaces or hyphens."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if letter.isalnum())


def builtin_candidates() -> tuple[Candidate, ...]:
    """The styles that ship with the package, none of them a painter's."""
    return tuple(Candidate(style, "", "", 0, maybe_living=False) for style in builtin_styles())


STYLE_LISTS: dict[str, Callable[[], tuple[Candidate, ...]]] = {
    "builtin": builtin_candidates,
    "wikiart": wikiart_candidates,
    "wikiart-all": partial(wikiart_candidates, all_styles=True),
}
"""Lists of candidates by name."""


def filter_candidates(
    candidates: Sequence[Candidate], genres: Sequence[str] = (), without_living: bool = False
) -> tuple[Candidate, ...]:
    """Those candidates that may be drawn, of some genres, and by artists known to have died.

    Args:
        genres: empty for all.
        without_living: leave out every artist for whom no year of death is known, which is more
            than those who live (``data/maybe_living.csv`` says why for each of WikiArt's).

    Raises:
        StyleBankError: an unknown genre, or nothing is left.
    """
    kept = find_genres(candidates, genres)
    left = tuple(
        candidate
        for candidate in candidates
        if candidate.offered
        and (not genres or candidate.style.genre in kept)
        and not (without_living and candidate.maybe_living)
    )
    if not left:
        raise StyleBankError("No style is left after the filters.")
    return left


def filter_bank(
    bank: StyleBank, genres: Sequence[str] = (), without_living: bool = False
) -> StyleBank:
    """The same filters on the styles of a bank.

    Painters whom WikiArt's list does not have count as maybe living, styles without one do not.

    Raises:
        StyleBankError: an unknown genre, or nothing is left.
    """
    died = {plain(c.style.artist or "") for c in wikiart_candidates() if not c.maybe_living}
    candidates = [
        Candidate(
            style,
            "",
            style.artist or "",
            0,
            maybe_living=style.artist is not None and plain(style.artist) not in died,
        )
        for style in bank.styles
    ]
    left = {c.style for c in filter_candidates(candidates, genres, without_living)}
    return bank.restricted_to(lambda style: style in left)


def find_known_style(name: str, others: Sequence[Style] = ()) -> Style:
    """A style by name: of ``others``, of the built-in styles, or of WikiArt's painters.

    A painter's name alone means the style they painted most.

    Raises:
        StyleBankError: there is none; the sentence offers the nearest names.
    """
    first = (*others, *builtin_styles())
    for style in (*first, *(candidate.style for candidate in wikiart_candidates(True))):
        if style.name.casefold() == name.casefold():
            return style
    return find_style([*first, *(candidate.style for candidate in wikiart_candidates())], name)


def read_style_list(path: Path) -> tuple[Candidate, ...]:
    """A user's own styles from a .csv or .yaml file.

    Each entry has a ``name``, or an ``artist`` and a ``genre`` that make one; ``prompt`` is made
    from them unless given; a ``died`` (a year) tells the filter for living artists that the artist
    is not.  In YAML the file is a list of such entries.

    Raises:
        StyleBankError: the file cannot be read, an entry lacks something, holds an unknown column,
            control characters or a spreadsheet formula, or a name comes twice.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LIST_BYTES + 1)
        if len(data) > MAX_LIST_BYTES:
            raise StyleBankError(
                f"A list of styles may hold {MAX_LIST_BYTES // 10**6} MB, "
                f"but {path.name} is larger."
            )
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise StyleBankError(f"{path.name} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise StyleBankError(f"{path.name} must be UTF-8 text, but it is not.") from error
    kind = path.suffix.lower()
    if kind not in (".csv", ".yaml", ".yml"):
        raise StyleBankError(f"Expected a list of styles as .csv or .yaml, but got {path.name}.")
    rows = _csv_rows(text, path.name) if kind == ".csv" else _yaml_rows(text, path.name)
    found = [_own_candidate(row, f"{path.name}, style {n}") for n, row in enumerate(rows, start=1)]
    if not found:
        raise StyleBankError(f"A list of styles needs at least one, but {path.name} has none.")
    seen: set[str] = set()
    for candidate in found:
        if (name := candidate.style.name).casefold() in seen:
            raise StyleBankError(f"The style {name!r} comes twice in {path.name}.")
        seen.add(name.casefold())
    return tuple(found)


def _csv_rows(text: str, source: str) -> list[dict[Any, Any]]:
    try:
        return list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise StyleBankError(f"{source} is no CSV: {error}.") from error


def _yaml_rows(text: str, source: str) -> list[dict[Any, Any]]:
    import yaml

    try:
        rows = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split()) or "it is nested too deeply"
        raise StyleBankError(f"{source} is no YAML: {reason}.") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise StyleBankError(f"Expected a list of styles in {source}, each with a name.")
    return rows


def _own_candidate(row: dict[Any, Any], where: str) -> Candidate:
    """One entry of a user's list, checked."""
    fields: dict[str, str] = {}
    for column, value in row.items():
        if column not in _LONGEST:
            known = ", ".join(_LONGEST)
            raise StyleBankError(f"{where}: expected the columns {known}, but got {column!r}.")
        if not isinstance(value, (str, int, type(None))):
            raise StyleBankError(f"{where}: expected text for {column}, but got {value!r:.40}.")
        fields[column] = check_text(str(value or "").strip(), column, where)
    name, artist, genre = (fields.get(key, "") for key in ("name", "artist", "genre"))
    if artist and genre:
        style = style_by(artist, genre)
    elif name:
        prompt = f"a picture in the style {name}"
        style = Style(name, genre or "Other", artist or None, prompt, None)
    else:
        raise StyleBankError(f"{where}: expected a name, or an artist and a genre.")
    style = Style(
        name or style.name, style.genre, style.artist, fields.get("prompt") or style.prompt, None
    )
    return Candidate(style, "", artist, 0, maybe_living=not fields.get("died"))


def check_text(text: str, column: str, where: str) -> str:
    """``text`` if it can stand in a table, a file and a prompt.

    Raises:
        StyleBankError: control characters, a spreadsheet formula, or too long.
    """
    if not text.isprintable():
        raise StyleBankError(f"{where}: the {column} holds control characters: {text!a:.60}.")
    if text[:1] in ("=", "+", "-", "@"):
        raise StyleBankError(
            f"{where}: the {column} begins like a spreadsheet formula: {text!r:.60}."
        )
    if len(text) > _LONGEST[column]:
        raise StyleBankError(
            f"{where}: the {column} may have {_LONGEST[column]} characters, "
            f"but it has {len(text):,}."
        )
    return text
