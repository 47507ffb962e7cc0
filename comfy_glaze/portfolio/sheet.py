"""The sheet: a cloak's pictures side by side, with its measures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..countermeasures.retention import Retention
from ..files.atomic import atomic_write
from ..images import LEVELS, shrink, to_levels
from ..optional import extra_name

REHEARSAL = (
    "Rehearsal: the embedded encoder belongs to no image generator, so this cloak guards nothing "
    "yet; name a real checkpoint to cloak for use."
)
POISON_REHEARSAL = (
    "Rehearsal: the embedded encoder belongs to no image generator, so this poison reaches none."
)
_PANEL = 480  # px: the most that a panel's longer side takes
_MARGIN = 16
_INK, _FAINT, _PAPER = (32, 33, 36), (110, 112, 118), (250, 249, 247)


def write_sheet(
    original: Tensor,
    styled: Tensor | None,
    cloaked: Tensor,
    report: dict[str, Any],
    path: Path,
    shown_as: Path | None = None,
) -> None:
    """One PNG: original, styled, cloaked, the difference amplified, and the measures.

    Args:
        original, styled, cloaked: images (1, 3, H, W) in [0, 1]; ``styled`` is None for a cloak
            that is led to no picture.
        report: what :func:`build_report` returned.
        path, shown_as: see :func:`comfy_glaze.files.atomic.atomic_write`, also for errors.
    """
    factor = _difference_factor(original, cloaked)
    # at the panel's size: a large picture fills the memory
    difference = 0.5 + factor * (_small(cloaked) - _small(original))
    poison = report.get("poison")
    result, led_to = "cloaked", f"styled: {report['target_style']['name'] or 'by hand'}"
    if poison:
        result, led_to = "poisoned", f"anchor: {poison['towards']}"
    if system := report.get("system"):
        result, led_to = f"cloaked as {system}", "led to"
    panels = [
        ("original", original),
        *([] if styled is None else [(led_to, styled)]),
        (result, cloaked),
        (f"difference times {factor}", difference),
    ]
    closer = _closer(original, cloaked, report["quality"], result)
    sheet = _compose([panels, closer], _lines(report))
    with atomic_write(path, shown_as) as temporary:
        sheet.save(temporary, "PNG", optimize=True)


def draw_measured(
    original: Tensor, cloaked: Tensor, measured: dict[str, Any], left: Sequence[Retention]
) -> Image.Image:
    """Where the cloak shows most, at 100%, its measures, and what countermeasures leave.

    Args:
        original, cloaked: images (1, 3, H, W) in [0, 1].
        measured: measures under the report's keys, with ``quality`` and ``rehearsal``.
        left: a row of the table each, in this order.
    """
    perceptual, shift = measured["perceptual"], measured["shift"]["512"]
    lines = [
        f"shift {shift:.3f}    {perceptual['metric']} "
        f"{perceptual['value']:.4f}    {_pixel_words(measured, '')}",
        _quality_words(measured["quality"]),
        *([REHEARSAL] if measured["rehearsal"] else []),
    ]
    above = _compose([_closer(original, cloaked, measured["quality"])], lines)
    if not left:
        return above
    rows = [
        ("after", "shift left", "share kept"),
        ("nothing", f"{shift:.3f}", f"{1:.0%}"),
        *((row.case.words, f"{row.shift:.3f}", f"{row.retention:.0%}") for row in left),
    ]
    below = _table(rows)
    sheet = Image.new("RGB", (max(above.width, below.width), above.height + below.height), _PAPER)
    sheet.paste(above, (0, 0))
    sheet.paste(below, (0, above.height))
    return sheet


def _table(rows: Sequence[Sequence[str]]) -> Image.Image:
    """Rows of text below a heading, the first column aligned to the left, the others right."""
    font, between, line = ImageFont.load_default(15), 2 * _MARGIN, 24
    columns = zip(*rows, strict=True)
    widths = [max(int(font.getlength(cell)) + 1 for cell in column) for column in columns]
    width = sum(widths) + between * (len(widths) - 1) + 2 * _MARGIN
    table = Image.new("RGB", (width, line * len(rows) + 2 * _MARGIN), _PAPER)
    draw = ImageDraw.Draw(table)
    for number, row in enumerate(rows):
        top, right = line * number + _MARGIN // 2, _MARGIN - between
        for column, (cell, wide) in enumerate(zip(row, widths, strict=True)):
            right += wide + between
            place, anchor = (right, "ra") if column else (_MARGIN, "la")
            draw.text((place, top), cell, fill=_INK if number else _FAINT, font=font, anchor=anchor)
    draw.line([(_MARGIN, line + 3), (width - _MARGIN, line + 3)], fill=_FAINT)
    return table


def _closer(
    original: Tensor, cloaked: Tensor, quality: dict[str, Any], result: str = "cloaked"
) -> list[tuple[str, Tensor]]:
    top, left, height, width = quality["worst"]
    return [
        (
            f"{label}, the most visible place at 100%",
            image[..., top : top + height, left : left + width],
        )
        for label, image in (("original", original), (result, cloaked))
    ]


def _difference_factor(original: Tensor, cloaked: Tensor) -> int:
    """The round factor that makes a difference fill the grey scale without clipping much."""
    every = max(1, original.numel() // 10**6)
    sample = cloaked.flatten()[::every] - original.flatten()[::every]
    largest = float(torch.quantile(sample.abs(), 0.99))
    return next((f for f in (50, 20, 10, 5, 2) if f * largest <= 0.5), 1)


def _lines(report: dict[str, Any]) -> list[str]:
    settings, perceptual, shift = report["settings"], report["perceptual"], report["shift"]
    lines = [
        *_verdict_words(report["verdict"]),
        f"shift {shift['512']:.3f} (512 px), {shift['native']:.3f} (native)    "
        + _budget_words(perceptual, report, settings),
        f"encoder {report['encoder']['name']}    method {settings['method']}, "
        f"{settings['steps']} steps    {report['gradients']:.1f} gradients    "
        f"{report['seconds']['optimize']:.1f} s on {report['device']}",
    ]
    if "encoded" in report:
        after = report["encoded"]
        lines.append(
            f"in the saved file: shift {after['shift']['512']:.3f}, "
            f"{after['shift']['native']:.3f}    "
            + _budget_words(after["perceptual"], after, settings)
        )
    lines.append(_quality_words(report["quality"]))
    if report["rehearsal"]:
        lines.append(POISON_REHEARSAL if report.get("poison") else REHEARSAL)
    return lines


def _verdict_words(verdict: dict[str, str] | None) -> list[str]:
    """Nothing for another system's cloak, which has no verdict."""
    if verdict is None:
        return []
    lines = (f"Verdict: {verdict['level']}. {verdict['sentence']}", verdict["try"])
    return [line for line in lines if line]


def _quality_words(quality: dict[str, Any]) -> str:
    """The measures that no cloak is optimised for, those that there are."""
    words = [
        f"{name} {quality[key]:.{digits}f}"
        for key, name, digits in (
            ("ssimulacra2", "SSIMULACRA2", 1),
            ("flip", "FLIP", 4),
            ("ms_ssim", "MS-SSIM", 4),
            ("flat_delta_e", "even ground dE2000", 2),
            ("colour_cast", "cast dE2000", 2),
        )
        if quality[key] is not None
    ]
    missing = f"not measured; pip install {extra_name('quality')}"
    return "not optimised: " + ("    ".join(words) or missing)


def _budget_words(perceptual: dict[str, Any], values: dict[str, Any], settings: Any) -> str:
    words = []
    if perceptual["value"] is not None:
        words.append(f"{perceptual['metric']} {perceptual['value']:.4f} of {perceptual['limit']:g}")
    cap = f" of {settings['linf'] * LEVELS:.0f}" if settings["linf"] is not None else ""
    words.append(_pixel_words(values, cap))
    return "    ".join(words)


def _pixel_words(values: dict[str, Any], cap: str) -> str:
    psnr = values["psnr"]
    likeness = f"PSNR {psnr:.1f} dB" if psnr is not None else "unchanged"
    return f"largest change {values['linf'] * LEVELS:.0f}{cap} levels    {likeness}"


def _small(image: Tensor) -> Tensor:
    """An image at a panel's size."""
    height, width = image.shape[-2:]
    return shrink(image.cpu(), max(1, _PANEL * min(height, width) // max(height, width)))


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray(to_levels(_small(image)))


def _compose(rows: Sequence[Sequence[tuple[str, Tensor]]], lines: Sequence[str]) -> Image.Image:
    """Rows of pictures with a title each, and lines of text below them."""
    title, small = ImageFont.load_default(18), ImageFont.load_default(15)
    shown = [[(label, _picture(image)) for label, image in row] for row in rows]
    width = int(max(small.getlength(line) for line in lines)) + 2 * _MARGIN
    for row in shown:
        columns = sum(max(p.width, int(title.getlength(label))) + _MARGIN for label, p in row)
        width = max(width, columns + _MARGIN)
    heights = [44 + max(p.height for _, p in row) for row in shown]
    sheet = Image.new("RGB", (width, sum(heights) + 12 + 24 * len(lines) + _MARGIN), _PAPER)
    draw, top = ImageDraw.Draw(sheet), 0
    for row, height in zip(shown, heights, strict=True):
        left = _MARGIN
        for label, picture in row:
            draw.text((left, top + 12), label, fill=_INK, font=title)
            sheet.paste(picture, (left, top + 44))
            left += max(picture.width, int(title.getlength(label))) + _MARGIN
        top += height
    for index, line in enumerate(lines):
        draw.text((_MARGIN, top + 12 + 24 * index), line, fill=_FAINT, font=small)
    return sheet
