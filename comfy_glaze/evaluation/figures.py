"""Pictures of results: rows of scenarios beside the artist's own works, as in the paper."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .drawing import INK, literal, new_figure, write_figure

CELL = 160  # px: the side of a picture in the grid
_GAP = 8


def write_grid(rows: Sequence[tuple[str, Sequence[Path]]], columns: int, path: Path) -> None:
    """One PNG: a labelled row of square pictures for each scenario.

    Args:
        rows: a label and the pictures of each row; the middle square of each is shown.
        columns: how many pictures of a row are shown.

    Raises:
        ValueError: matplotlib is not installed.
    """
    figure = new_figure(1, 1)
    texts = [literal("\n".join(textwrap.wrap(label, 28))) for label, _ in rows]
    labels = [
        figure.text(_GAP, 0, text, color=INK, size=10, va="center", transform=None)  # in pixels
        for text in texts
    ]
    left = int(max(label.get_window_extent().width for label in labels)) + 2 * _GAP
    height = len(rows) * (CELL + _GAP) + _GAP
    figure.set_size_inches(
        (left + columns * (CELL + _GAP) + _GAP) / figure.dpi, height / figure.dpi
    )
    for row, (label, (_, pictures)) in enumerate(zip(labels, rows, strict=True)):
        bottom = height - (row + 1) * (CELL + _GAP)
        label.set_y(bottom + CELL / 2)
        for column, picture in enumerate(pictures[:columns]):
            place = left + column * (CELL + _GAP), bottom
            figure.figimage(_thumbnail(picture), *place, origin="upper")
    write_figure(figure, path, grow=False)


def _thumbnail(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        picture = file.convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((CELL, CELL), Image.Resampling.LANCZOS))
