"""Building style banks: in batches, resumable, the same bytes however often interrupted."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from ..files.formats import ArtworkError
from ..networks.encoders import Encoder
from .bank import Style, StyleBank, StyleBankError, style_vectors
from .bank_file import load_style_bank, save_style_bank, thumbnail_of
from .vectors import DEFAULT_STATISTIC

OnStyle = Callable[[int, int], None]
"""Progress: called with (styles done, all styles)."""

STYLES_PER_BATCH = 4


@dataclass(frozen=True, eq=False)
class PictureSource:
    """Where a bank's pictures come from.

    Attributes:
        name: names the source and all that decides its pictures; a build that was interrupted goes
            on only if it is the same.
        pictures_in: for each of several styles, a few images (1, 3, H, W) in [0, 1]; the same ones
            each time.
    """

    name: str
    pictures_in: Callable[[Sequence[Style]], list[list[Tensor]]]


def one_by_one(name: str, pictures_in: Callable[[Style], Iterable[Tensor]]) -> PictureSource:
    """A source that knows the pictures of one style at a time."""
    return PictureSource(name, lambda styles: [list(pictures_in(style)) for style in styles])


def _batch(
    styles: Sequence[Style], source: PictureSource, encoder: Encoder, statistic: str
) -> StyleBank:
    """A bank of a few styles, their pictures encoded together."""
    pictures = source.pictures_in(styles)
    for style, found in zip(styles, pictures, strict=True):
        if not found:
            raise StyleBankError(f"A style needs at least one picture, but {style.name} has none.")
    vectors = style_vectors([p for found in pictures for p in found], encoder, statistic)
    each = torch.split(vectors, [len(found) for found in pictures])
    return StyleBank(
        tuple(styles),
        torch.stack([rows.mean(dim=0) for rows in each]).half().float(),  # as a file holds them
        encoder.name,
        encoder.fingerprint,
        statistic,
        {s.name: thumbnail_of(p[0]) for s, p in zip(styles, pictures, strict=True)},
    )


def _joined(parts: Sequence[StyleBank]) -> StyleBank:
    first = parts[0]
    return StyleBank(
        tuple(style for part in parts for style in part.styles),
        torch.cat([part.centroids for part in parts]),
        first.encoder_name,
        first.fingerprint,
        first.statistic,
        {name: part.thumbnails[name] for part in parts for name in part.thumbnails},
    )


def build_style_bank(
    styles: Sequence[Style],
    source: PictureSource,
    encoder: Encoder,
    out: Path | None = None,
    *,
    statistic: str = DEFAULT_STATISTIC,
    styles_per_batch: int = STYLES_PER_BATCH,
    on_style: OnStyle | None = None,
) -> StyleBank:
    """Compute the centroids and thumbnails of styles.

    With ``out`` the bank is written there, and each batch is kept in a folder beside it until all
    are done: a build that was stopped, even killed, goes on after its last whole batch, and the
    file comes out with the same bytes as that of an undisturbed build (on the same machine, device
    and number of threads), because batches are always made up alike.

    Args:
        styles: the candidates, their names unique.
        source: their pictures.
        encoder: Φ.
        out: a .safetensors file, or None to build in memory only.
        statistic: a key of :data:`comfy_glaze.styles.vectors.STYLE_VECTORS`.
        styles_per_batch: how many styles are drawn and encoded together.

    Raises:
        StyleBankError: no style, two of one name, a style without pictures, or another build of
            the same bank is running.
        ArtworkError: something cannot be written.
    """
    if not styles:
        raise StyleBankError("A style bank needs at least one style, but none was given.")
    if len({style.name.casefold() for style in styles}) < len(styles):
        raise StyleBankError("The styles of a bank need names of their own, but one comes twice.")
    starts = range(0, len(styles), max(1, styles_per_batch))
    batches = [styles[start : start + starts.step] for start in starts]
    if out is None:
        parts = []
        for styles_of_part in batches:
            parts.append(_batch(styles_of_part, source, encoder, statistic))
            _tell(on_style, parts, styles)
        return _joined(parts)
    if out.suffix != ".safetensors":
        raise StyleBankError(f"A style bank is a .safetensors file, but got {out.name}.")
    recipe = [[asdict(s) for s in styles], source.name, encoder.fingerprint, statistic, starts.step]
    key = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]
    folder = out.with_name(f".{out.stem}-{key}.parts")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtworkError(f"{out.parent} cannot be written to: {error.strerror}.") from error
    try:
        with FileLock(folder / "lock", timeout=0):
            parts = []
            for number, styles_of_part in enumerate(batches):
                file = folder / f"{number:05}.safetensors"
                part = _kept(file, styles_of_part, encoder, statistic)
                if part is None:
                    part = _batch(styles_of_part, source, encoder, statistic)
                    save_style_bank(part, file)
                parts.append(part)
                _tell(on_style, parts, styles)
            save_style_bank(_joined(parts), out)
    except Timeout as error:
        raise StyleBankError(f"Another build of {out.name} is running.") from error
    shutil.rmtree(folder, ignore_errors=True)
    return load_style_bank(out)


def _tell(on_style: OnStyle | None, parts: Sequence[StyleBank], styles: Sequence[Style]) -> None:
    if on_style is not None:
        on_style(sum(len(part.styles) for part in parts), len(styles))


def _kept(
    file: Path, styles: Sequence[Style], encoder: Encoder, statistic: str
) -> StyleBank | None:
    """A batch that an interrupted build left, if it is whole."""
    if not file.is_file():
        return None
    try:
        part = load_style_bank(file)
    except StyleBankError:
        return None
    belongs = (part.styles, part.fingerprint, part.statistic) == (
        tuple(styles),
        encoder.fingerprint,
        statistic,
    )
    return part if belongs else None
