"""Pictures of results: rows of scenarios beside the artist's own works, as in the paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ..files.atomic import atomic_write

CELL = 160  # px: the side of a picture in the grid
_GAP, _LABEL, _HEAD = 8, 220, 34
_INK, _PAPER = (32, 33, 36), (250, 249, 247)


def write_grid(
    rows: Sequence[tuple[str, Sequence[Path]]], columns: Sequence[str], path: Path
) -> None:
    """One PNG: a labelled row of square pictures for each scenario.

    Args:
        rows: a label and the pictures of each row; the middle square of each is shown.
        columns: a heading for each column.
    """
    width = _LABEL + len(columns) * (CELL + _GAP) + _GAP
    height = _HEAD + len(rows) * (CELL + _GAP) + _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column, title in enumerate(columns):
        draw.text((_LABEL + column * (CELL + _GAP), 10), title, fill=_INK, font=font)
    for row, (label, pictures) in enumerate(rows):
        top = _HEAD + row * (CELL + _GAP)
        text = _wrapped(label, font, _LABEL - 2 * _GAP)
        draw.multiline_text((_GAP, top + 8), text, fill=_INK, font=font)
        for column, picture in enumerate(pictures[: len(columns)]):
            sheet.paste(_thumbnail(picture), (_LABEL + column * (CELL + _GAP), top))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        sheet.save(temporary, "PNG", optimize=True)


def _thumbnail(path: Path) -> Image.Image:
    with Image.open(path) as file:
        picture = file.convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return square.resize((CELL, CELL), Image.Resampling.LANCZOS)


def _wrapped(text: str, font: Any, width: int) -> str:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)
