"""List the artists of WikiArt who may be living, from the open data of three collections.

    git clone https://github.com/tategallery/collection tate
    git clone https://github.com/NationalGalleryOfArt/opendata nga
    git clone https://github.com/me9hanics/PainterPalette painterpalette
    python training/list_living_artists.py --tate tate/artist_data.csv \
        --nga nga/data/constituents.csv --painters painterpalette/PainterPalette.csv

writes ``comfy_glaze/styles/data/maybe_living.csv``. An artist counts as dead if a collection gives
a year of death, or a birth before 1900. Everyone else may be living. ``known_years.csv`` beside
this file overrides the collections, for namesakes and for artists whom they lack.
"""

from __future__ import annotations

import argparse
import csv
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from comfy_glaze.files.bundled import STYLES_FOLDER
from comfy_glaze.styles.candidates import wikiart_candidates

Years = tuple[int | None, int | None]
DEAD_IF_BORN_BEFORE = 1900


def plain(name: str) -> str:
    """A name without accents, capitals and punctuation, for comparing."""
    letters = unicodedata.normalize("NFKD", name.casefold().replace("'", ""))
    return " ".join(re.findall("[a-z0-9]+", letters.encode("ascii", "ignore").decode()))


def year(text: str) -> int | None:
    """A year from a field such as 1901, 1901.0 or nothing."""
    return int(float(text)) if re.fullmatch(r"\d+(\.0)?", text) else None


def tate(path: Path) -> Iterator[tuple[str, Years]]:
    """Names, given name first, and years of birth and death in Tate's list (CC0)."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            family, *given = (part.strip() for part in row["name"].split(","))
            titles = re.sub(r"\b(Sir|Dame|RA|OM|Bt)\b", "", " ".join(given))
            yield f"{titles} {family}", (year(row["yearOfBirth"]), year(row["yearOfDeath"]))


def nga(path: Path) -> Iterator[tuple[str, Years]]:
    """The same from the National Gallery of Art's list (CC0)."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["constituenttype"] == "individual":
                yield row["forwarddisplayname"], (year(row["beginyear"]), year(row["endyear"]))


def painters(path: Path) -> Iterator[tuple[str, Years]]:
    """The same from PainterPalette, which has its years from WikiArt and Wikidata (MIT)."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row["artist"], (year(row["birth_year"]), year(row["death_year"]))


def why_maybe_living(years: list[Years]) -> str | None:
    """Why an artist may be living, or None for one who has died."""
    births = [born for born, _ in years if born is not None]
    if any(died for _, died in years) or (births and max(births) < DEAD_IF_BORN_BEFORE):
        return None
    return "no year of death found" if births else "no years found"


def main() -> None:
    """Read the collections and write the list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("tate", "nga", "painters"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    found: defaultdict[str, list[Years]] = defaultdict(list)
    for source in (tate(options.tate), nga(options.nga), painters(options.painters)):
        for name, years in source:
            found[plain(name)].append(years)
    with Path(__file__).with_name("known_years.csv").open(encoding="utf-8", newline="") as file:
        known = {r["artist_slug"]: (year(r["born"]), year(r["died"])) for r in csv.DictReader(file)}
    rows = []
    for candidate in wikiart_candidates():
        own = [known[candidate.slug]] if candidate.slug in known else None
        if reason := why_maybe_living(own or found[plain(candidate.listed_as)]):
            rows.append((candidate.slug, reason))
    out = STYLES_FOLDER / "maybe_living.csv"
    with out.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("artist_slug", "reason"), *rows])
    print(f"{len(rows)} artists in {out}")


if __name__ == "__main__":
    main()
