"""The built-in style bank: ready-made for the embedded encoder, made on demand for any other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import platformdirs
from torch import Tensor

from .artwork import ArtworkError, load_artwork
from .encoders import Encoder
from .style_bank import (
    STYLES_FOLDER,
    Style,
    StyleBank,
    StyleBankError,
    build_style_bank,
    builtin_styles,
    load_style_bank,
    save_style_bank,
)
from .style_transfer import load_style_transfer


def content_pictures() -> list[Tensor]:
    """The small pictures that the built-in styles are drawn on, images (1, 3, H, W) in [0, 1]."""
    return [load_artwork(path).pixels for path in sorted(STYLES_FOLDER.glob("content-*.webp"))]


def make_builtin_bank(
    encoder: Encoder, on_style: Callable[[int, int], None] | None = None
) -> StyleBank:
    """Draw every built-in style on the content pictures and compute the centroids."""
    redraw, contents = load_style_transfer("embedded"), content_pictures()

    def pictures_in(style: Style) -> Iterable[Tensor]:
        return (redraw(content, style) for content in contents)

    return build_style_bank(builtin_styles(), pictures_in, encoder, on_style)


def builtin_bank(encoder: Encoder, on_style: Callable[[int, int], None] | None = None) -> StyleBank:
    """The built-in bank for an encoder: shipped, from the cache, or made now (and then cached).

    Raises:
        StyleTransferError: it must be made, but the embedded style transfer is not installed.
    """
    shipped = STYLES_FOLDER / f"{encoder.name}.safetensors"
    cached = _cache_folder() / f"{encoder.fingerprint}.safetensors"
    for path in (shipped, cached):
        with suppress(StyleBankError):  # missing, damaged or of an older version: made anew
            bank = load_style_bank(path)
            if bank.fingerprint == encoder.fingerprint and bank.styles == builtin_styles():
                return bank
    bank = make_builtin_bank(encoder, on_style)
    with suppress(OSError, ArtworkError):  # without a cache the bank is made again next time
        cached.parent.mkdir(parents=True, exist_ok=True)
        save_style_bank(bank, cached)
    return bank


def _cache_folder() -> Path:
    return platformdirs.user_cache_path("comfy-glaze") / "style-banks"
