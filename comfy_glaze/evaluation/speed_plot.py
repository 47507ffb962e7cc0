"""Shift over gradients, drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..files.atomic import atomic_write
from .speed import TimedCloak

_WIDTH, _HEIGHT = 880, 520
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 48, 210, 56
_INK, _FAINT, _PAPER = (32, 33, 36), (206, 208, 212), (250, 249, 247)
_COLOURS = ((31, 119, 180), (214, 96, 32), (44, 140, 70), (150, 70, 160), (120, 90, 60))


def write_plot(pairs: Sequence[tuple[TimedCloak, TimedCloak]], path: Path) -> None:
    """One PNG: for each picture ``fast`` as a thick line and ``paper`` as a thin one.

    The horizontal axis is logarithmic: the two differ by more than a factor of ten.
    """
    sheet = Image.new("RGB", (_WIDTH, _HEIGHT), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    points = [point for pair in pairs for cloak in pair for point in cloak.curve[1:]]
    low = math.log10(min((gradients for gradients, _ in points), default=1.0))
    high = math.log10(max((gradients for gradients, _ in points), default=10.0))
    high = max(high, low + 0.1)

    def place(gradients: float, shift: float) -> tuple[float, float]:
        across = (math.log10(gradients) - low) / (high - low)
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - min(max(shift, 0.0), 1.0) * (_HEIGHT - _TOP - _BOTTOM),
        )

    draw.text((_LEFT, 14), "Shift over gradients (512 × 512 each)", fill=_INK, font=font)
    for tenth in range(0, 11, 2):
        (left, y), (right, _) = place(10**low, tenth / 10), place(10**high, tenth / 10)
        draw.line([(left, y), (right, y)], fill=_FAINT)
        draw.text((left - 12, y), f"{tenth / 10:.1f}", fill=_INK, font=font, anchor="rm")
    for power in range(math.ceil(low * 3), math.floor(high * 3) + 1):
        gradients = (1, 2, 5)[power % 3] * 10.0 ** (power // 3)
        if low <= math.log10(gradients) <= high:
            x, y = place(gradients, 0)
            draw.line([(x, _TOP), (x, y)], fill=_FAINT)
            draw.text((x, y + 8), f"{gradients:g}", fill=_INK, font=font, anchor="mt")
    for index, pair in enumerate(pairs):
        colour = _COLOURS[index % len(_COLOURS)]
        for cloak, width in zip(pair, (4, 1), strict=True):
            line = [place(*point) for point in cloak.curve[1:]]
            if len(line) > 1:
                draw.line(line, fill=colour, width=width)
        y = _TOP + 48 * index
        for row, (cloak, width) in enumerate(zip(pair, (4, 1), strict=True)):
            left, middle = _WIDTH - _RIGHT + 20, y + 20 * row + 8
            draw.line([(left, middle), (left + 24, middle)], fill=colour, width=width)
            label = f"{cloak.picture}, {cloak.method}"
            draw.text((left + 32, middle), label, fill=_INK, font=font, anchor="lm")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        sheet.save(temporary, "PNG", optimize=True)
