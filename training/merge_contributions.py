"""Put what volunteers have sent into the table of docs/evaluation.md, one row each.

    python training/merge_contributions.py [FOLDER]

FOLDER holds their JSONs, ``docs/contributions`` unless told otherwise.  One that is no contribution
is named and changes nothing.  Given twice, or as a later state of the same run, a contribution
makes one row.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from comfy_glaze.evaluation.contribution import read_contribution, table_of
from comfy_glaze.files.atomic import atomic_write

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- contributions -->", "<!-- end of contributions -->"
NONE = "Nobody has sent one yet.\n"


def merged(page: str, folder: Path) -> str:
    """The page with a table of every JSON in a folder between its two marks.

    Raises:
        ValueError: a file is no contribution, or the page has no marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"Expected {BEGIN} and {END} in the page, but they are not there.")
    found = [read_contribution(path) for path in sorted(folder.glob("*.json"))]
    return f"{before}{BEGIN}\n\n{table_of(found) if found else NONE}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=DOCS / "contributions")
    parser.add_argument("--page", type=Path, default=DOCS / "evaluation.md")
    options = parser.parse_args()
    try:
        text = merged(options.page.read_text("utf-8"), options.folder)
    except ValueError as error:
        sys.exit(str(error))
    with atomic_write(options.page) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
