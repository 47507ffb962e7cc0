"""What is left of a cloak under each countermeasure, drawn as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..files.atomic import atomic_write

_LABEL, _BAR, _ROW, _MARGIN = 220, 560, 22, 16
_INK, _FAINT, _PAPER = (32, 33, 36), (206, 208, 212), (250, 249, 247)
_COLOURS = ((214, 96, 32), (31, 119, 180), (44, 140, 70), (150, 70, 160))


def write_bars(title: str, rows: Sequence[tuple[str, Mapping[str, float]]], path: Path) -> None:
    """:func:`draw_bars` as a PNG."""
    with atomic_write(path) as temporary:
        draw_bars(title, rows).save(temporary, "PNG", optimize=True)


def draw_bars(title: str, rows: Sequence[tuple[str, Mapping[str, float]]]) -> Image.Image:
    """For each row a bar per column, from 0 to 1.

    Args:
        title: what the bars' length means.
        rows: (label, value by column), drawn in this order.
    """
    columns, font = list(rows[0][1]), ImageFont.load_default(14)
    tall = _ROW if len(columns) < 2 else 10 * len(columns) + 6
    before = max(_LABEL, *(int(font.getlength(label)) + 2 * _MARGIN for label, _ in rows))
    size = (before + _BAR + 80, 92 + tall * len(rows) + _MARGIN)
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 12), title, fill=_INK, font=ImageFont.load_default(16))
    left = before
    for index, name in enumerate(columns):
        draw.rectangle((left, 44, left + 14, 56), fill=_COLOURS[index % len(_COLOURS)])
        draw.text((left + 20, 50), name, fill=_INK, font=font, anchor="lm")
        left += 60 + int(font.getlength(name))
    for tenth in range(0, 11, 2):
        x = before + _BAR * tenth / 10
        draw.line([(x, 84), (x, size[1] - _MARGIN)], fill=_FAINT)
        draw.text((x, 80), f"{tenth / 10:.1f}", fill=_INK, font=font, anchor="mb")
    for row, (label, values) in enumerate(rows):
        top = 88 + tall * row
        middle = top + (tall - 6) / 2
        draw.text((before - 10, middle), label, fill=_INK, font=font, anchor="rm")
        thick = (tall - 6) / len(columns)
        for index, name in enumerate(columns):
            wide = _BAR * min(max(values[name], 0.0), 1.0)
            box = (before, top + index * thick, before + wide, top + (index + 1) * thick - 2)
            draw.rectangle(box, fill=_COLOURS[index % len(_COLOURS)])
            if index == 0 or index == len(columns) - 1:
                y = top + (index + 0.5) * thick
                draw.text((before + wide + 6, y), f"{values[name]:.2f}", fill=_INK, anchor="lm")
    return sheet
