"""Style banks on disk: one .safetensors file, read through a memory map.

Tensors:
    ``centroids``: float16 (N, D), one row per style.
    ``thumbnails``: uint8 (T,), small WebP files, one after the other in the order of the styles;
        absent where no style has one.
    ``thumbnail_ends``: int64 (N,), where each style's ends; where the one before ended for none.

Metadata: one key, ``style_bank``, with a JSON object: ``format``, ``encoder`` and ``fingerprint``
(which made the centroids), ``statistic``, and ``styles``, a list of objects with the fields of
:class:`comfy_glaze.styles.bank.Style`.  (One key, because the order of several is left to chance
when a file is written, and the same bank is to give the same bytes.)
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..files.atomic import atomic_write
from ..images import resize, to_levels
from .bank import Style, StyleBank, StyleBankError
from .vectors import STYLE_VECTORS

THUMBNAIL_SIZE = 96
THUMBNAIL_QUALITY = 70
_LARGEST_THUMBNAIL = 65_536
_LONGEST_TEXT = 1000
_FORMAT = "comfy_glaze style bank 2"
_METADATA = "style_bank"


def thumbnail_of(picture: Tensor) -> bytes:
    """The middle square of a picture (1, 3, H, W) in [0, 1] at 96 px, as a WebP file."""
    height, width = picture.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[..., top : top + side, left : left + side]
    small = resize(square, THUMBNAIL_SIZE, THUMBNAIL_SIZE).clamp(0, 1)
    file = io.BytesIO()
    Image.fromarray(to_levels(small)).save(file, "WEBP", quality=THUMBNAIL_QUALITY, method=6)
    return file.getvalue()


def save_style_bank(bank: StyleBank, path: Path) -> None:
    """Write a bank, whole or not at all; the same bank gives the same bytes.

    Raises:
        ArtworkError: the file cannot be written.
    """
    from safetensors.torch import save_file

    description = {
        "format": _FORMAT,
        "encoder": bank.encoder_name,
        "fingerprint": bank.fingerprint,
        "statistic": bank.statistic,
        "styles": [asdict(style) for style in bank.styles],
    }
    tensors = {"centroids": bank.centroids.half().contiguous()}
    pictures = [bank.thumbnail(style.name) or b"" for style in bank.styles]
    if any(pictures):
        joined = np.frombuffer(b"".join(pictures), np.uint8).copy()
        tensors["thumbnails"] = torch.from_numpy(joined)
        tensors["thumbnail_ends"] = torch.tensor(list(accumulate(map(len, pictures))))
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, {_METADATA: json.dumps(description, ensure_ascii=False)})


def load_style_bank(path: Path) -> StyleBank:
    """Read a bank; its thumbnails stay on disk until one is asked for.

    Raises:
        StyleBankError: the file is missing or is not a bank, or what it says of itself is wrong.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_METADATA)
            if text is None:
                raise StyleBankError(
                    f"Expected a style bank of this version, but {path.name} is another file."
                )
            description = _description(json.loads(text), path.name)
            styles = tuple(_style(row, path.name) for row in description["styles"])
            if len({style.name.casefold() for style in styles}) < len(styles):
                raise StyleBankError(f"A style comes twice in the style bank {path.name}.")
            centroids = _centroids(file, len(styles), path.name)
            thumbnails = _thumbnails(file, styles, path)
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        if isinstance(error, StyleBankError):
            raise
        reason = " ".join(str(error).split())
        raise StyleBankError(f"Expected a style bank, but {path.name}: {reason}.") from error
    return StyleBank(
        styles,
        centroids,
        description["encoder"],
        description["fingerprint"],
        description["statistic"],
        thumbnails,
    )


def _description(found: Any, source: str) -> dict[str, Any]:
    """The metadata of a bank, checked."""
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise StyleBankError(f"Expected a style bank of this version, but {source} is another one.")
    for key in ("encoder", "fingerprint", "statistic"):
        if not _is_text(found.get(key)):
            raise StyleBankError(f"Expected a line of text for {key} in the style bank {source}.")
    if found["statistic"] not in STYLE_VECTORS:
        raise StyleBankError(
            f"Expected a statistic among {', '.join(STYLE_VECTORS)} in the style bank {source}, "
            f"but it has {found['statistic']:.40}."
        )
    if not isinstance(found.get("styles"), list):
        raise StyleBankError(f"Expected a list of styles in the style bank {source}.")
    return found


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= _LONGEST_TEXT


def _style(row: Any, source: str) -> Style:
    names = [field.name for field in fields(Style)]
    if (
        not isinstance(row, dict)
        or sorted(row) != sorted(names)
        or not all(_is_text(row[key]) for key in ("name", "genre", "prompt"))
        or not (row["artist"] is None or _is_text(row["artist"]))
        or not (row["embedded"] is None or type(row["embedded"]) is int)
    ):
        raise StyleBankError(
            f"Expected styles with {', '.join(names)} in the style bank {source}, "
            f"but got {row!r:.80}."
        )
    return Style(**row)


def _expect(file: Any, name: str, dtype: str, shape: tuple[int | None, ...], source: str) -> Any:
    """A tensor of the file, unread, of this type and shape (None for any size)."""
    tensor = file.get_slice(name)
    came, kind = tuple(tensor.get_shape()), tensor.get_dtype()
    if (
        kind != dtype
        or len(came) != len(shape)
        or any(want not in (None, got) for want, got in zip(shape, came, strict=True))
    ):
        wanted = tuple("any" if want is None else want for want in shape)
        raise StyleBankError(
            f"Expected {name} of type {dtype} and shape {wanted} in the style bank {source}, "
            f"but they are {kind} of shape {came}."
        )
    return tensor


def _centroids(file: Any, count: int, source: str) -> Tensor:
    _expect(file, "centroids", "F16", (count, None), source)
    centroids: Tensor = file.get_tensor("centroids").float()
    if not bool(centroids.isfinite().all()):
        raise StyleBankError(f"The centroids in the style bank {source} must be finite numbers.")
    return centroids


def _thumbnails(file: Any, styles: tuple[Style, ...], path: Path) -> Mapping[str, bytes]:
    if "thumbnail_ends" not in file.keys():  # noqa: SIM118 - a safetensors file is no dict
        return {}
    size = _expect(file, "thumbnails", "U8", (None,), path.name).get_shape()[0]
    _expect(file, "thumbnail_ends", "I64", (len(styles),), path.name)
    ends = [0, *file.get_tensor("thumbnail_ends").tolist()]
    if ends[-1] != size or any(not 0 <= b - a <= _LARGEST_THUMBNAIL for a, b in pairwise(ends)):
        raise StyleBankError(
            f"Expected thumbnails of at most {_LARGEST_THUMBNAIL:,} bytes each, {size:,} in all, "
            f"in the style bank {path.name}, but their ends say otherwise."
        )
    places = {s.name: place for s, place in zip(styles, pairwise(ends), strict=True)}
    return _Thumbnails(path, {name: (a, b) for name, (a, b) in places.items() if a < b})


class _Thumbnails(Mapping[str, bytes]):
    """Thumbnails of a bank's file, each read when asked for.

    The file is not held open, so that it can be replaced at any time (which some systems refuse
    for open files); the thumbnails of a file that was replaced since count as missing.
    """

    def __init__(self, path: Path, places: Mapping[str, tuple[int, int]]) -> None:
        self._path, self._places, self._state = path, places, _state_of(path)

    def __getitem__(self, name: str) -> bytes:
        from safetensors import SafetensorError, safe_open

        start, end = self._places[name]
        try:
            if _state_of(self._path) != self._state:
                raise KeyError(name)
            with safe_open(self._path, framework="np") as file:
                data: bytes = file.get_slice("thumbnails")[start:end].tobytes()
        except (OSError, SafetensorError) as error:
            raise KeyError(name) from error
        if data[:4] + data[8:12] != b"RIFFWEBP":
            raise KeyError(name)
        return data

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places


def _state_of(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
