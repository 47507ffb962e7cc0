"""The built-in style bank: ready-made for the embedded encoder, made on demand for any other."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import platformdirs
from torch import Tensor

from ..files.bundled import STYLES_FOLDER, content_pictures
from ..files.formats import ArtworkError
from ..networks.encoders import Encoder
from .bank import Style, StyleBank, StyleBankError, builtin_styles
from .bank_build import OnStyle, build_style_bank, one_by_one
from .bank_file import load_style_bank, save_style_bank
from .transfer import StyleTransfer, load_style_transfer


def make_builtin_bank(encoder: Encoder, on_style: OnStyle | None = None) -> StyleBank:
    """Draw every built-in style on the content pictures and compute the centroids."""
    redraw, contents = load_style_transfer("embedded"), content_pictures()

    def pictures_in(style: Style) -> Iterable[Tensor]:
        return (redraw(content, style) for content in contents)

    source = one_by_one("built-in styles on the built-in content pictures", pictures_in)
    return build_style_bank(
        builtin_styles(), source, encoder, styles_per_batch=1, on_style=on_style
    )


def builtin_bank(encoder: Encoder, on_style: OnStyle | None = None) -> StyleBank:
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


def own_bank_file(encoder: Encoder) -> Path:
    """Where ``comfy-glaze bank build`` puts the user's bank for an encoder, unless told otherwise.

    There it is found again by its encoder's fingerprint.
    """
    folder = platformdirs.user_data_path("comfy-glaze") / "style-banks"
    return folder / f"{encoder.fingerprint}.safetensors"


def bank_for(
    encoder: Encoder,
    redraw: StyleTransfer | None = None,
    file: Path | None = None,
    on_style: OnStyle | None = None,
) -> StyleBank:
    """The bank to choose a target style from: a file's, else the user's own, else the built-in one.

    Args:
        encoder: the artist's works are to be compared in its feature space.
        redraw: leave out what this style transfer cannot draw; None for all styles.
        file: a bank to use and no other.
        on_style: progress while the built-in bank is made.

    Raises:
        StyleBankError: a file is no bank, was made for another encoder, or holds no style that
            ``redraw`` can draw.
        StyleTransferError: as for :func:`builtin_bank`.
    """
    can_render = redraw.can_render if redraw is not None else lambda style: True
    own = own_bank_file(encoder)
    if file is not None or own.is_file():
        found = load_style_bank(file or own)
        found.check(encoder)
        bank = found.restricted_to(can_render)
        if bank.styles:
            return bank
        if file is not None and redraw is not None:
            raise StyleBankError(
                f"The {redraw.name} style transfer can draw none of the styles in {file.name}; "
                "name a Stable Diffusion checkpoint that can."
            )
    return builtin_bank(encoder, on_style).restricted_to(can_render)


def _cache_folder() -> Path:
    return platformdirs.user_cache_path("comfy-glaze") / "style-banks"
