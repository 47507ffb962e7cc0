"""The content pictures of the package: small artworks of plain things, for whatever needs some."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from .artwork import load_artwork

_FOLDER = Path(__file__).parent / "styles"


def content_pictures() -> list[Tensor]:
    """The small pictures that the built-in styles are drawn on, images (1, 3, H, W) in [0, 1]."""
    return [load_artwork(path).pixels for path in sorted(_FOLDER.glob("content-*.webp"))]
