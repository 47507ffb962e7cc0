"""What lies in the package's folder of styles, for whatever needs some of it."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from .artwork import load_artwork

STYLES_FOLDER = Path(__file__).parents[1] / "styles" / "data"
"""The built-in styles: their table, their bank, and the content pictures."""


def content_pictures() -> list[Tensor]:
    """The small pictures that the built-in styles are drawn on, images (1, 3, H, W) in [0, 1]."""
    return [load_artwork(path).pixels for path in sorted(STYLES_FOLDER.glob("content-*.webp"))]
