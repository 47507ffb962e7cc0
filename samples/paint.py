"""Paint the example artworks of this project, from nothing but code and a seed.

Four pictures, each in another technique, so that cloaks can be tried on all of them:

* ``harbour``: an oil-like evening harbour; thousands of bristle strokes over a composed scene;
* ``poster``: a flat-colour, screen-print-like illustration with large even areas;
* ``ink``: a pen drawing on near-white paper, all greys made by hatching;
* ``pastel``: a still life in soft, blended chalk.

Usage: ``python samples/paint.py [NAME] --out FILE`` (NAME defaults to ``harbour``).
The same command gives the same pixels on every run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from harbour import harbour
from ink import ink
from pastel import pastel
from PIL import Image
from poster import poster


def main() -> None:
    """Paint one picture and save it."""
    scenes: dict[str, Callable[[], Image.Image]] = {
        "harbour": harbour,
        "poster": poster,
        "ink": ink,
        "pastel": pastel,
    }
    ap = argparse.ArgumentParser(description=main.__doc__)
    ap.add_argument("name", nargs="?", default="harbour", choices=sorted(scenes))
    ap.add_argument("--out", required=True, help="PNG file to write")
    args = ap.parse_args()
    scenes[args.name]().save(args.out, optimize=True)


if __name__ == "__main__":
    main()
