"""The sheet: a cloak's pictures side by side, with its measures."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .. import HOW_TO_BREAK
from ..cloaking.effect import UPLOAD_QUALITY
from ..countermeasures.retention import Retention
from ..files.atomic import atomic_write
from ..images import LEVELS, VIEW_SIZE, View, floats, panels_of, shrink, to_levels
from ..optional import extra_name
from ..styles.works import evenly
from .seen import Seen

REHEARSAL = (
    "Rehearsal: the embedded encoder belongs to no image generator, so this cloak guards nothing "
    "yet; name a real checkpoint to cloak for use."
)
POISON_REHEARSAL = (
    "Rehearsal: the embedded encoder belongs to no image generator, so this poison reaches none."
)
SEEN = (
    f"What a model's autoencoder makes of it: saved as JPEG {UPLOAD_QUALITY}, at {VIEW_SIZE} px, "
    "encoded and decoded again. A model trains on the numbers in between.",
    "Two that look alike do not show that the change fails, and two that differ do not show that "
    "it works: only a model trained on such works can.",
)
"""Below the decoded pictures."""
_PANEL = 480  # px: the most that a picture's longer side takes
_DECODED = 960  # px: the same of a decoded picture, which is rarely larger
_STRIP_PANEL, _STRIP_PANELS = 240, 12  # px and number: the panels of a strip that are shown
_SQUARE, _LIGHT, _DARK = 8, 0.85, 0.65  # px and greys: the ground below what is transparent
_MARGIN = 16
_LINE = 150  # characters of advice in one line
_INK, _FAINT, _PAPER = (32, 33, 36), (110, 112, 118), (250, 249, 247)


def write_sheet(
    original: Tensor,
    styled: Tensor | None,
    cloaked: Tensor,
    report: dict[str, Any],
    path: Path,
    shown_as: Path | None = None,
    alpha: Tensor | None = None,
    seen: Sequence[Seen] = (),
) -> None:
    """One PNG: original, styled, cloaked, the difference amplified, and the measures.

    A strip is shown as its panels, side by side.

    Args:
        original, styled, cloaked: images (1, 3, H, W) in [0, 1], or held as levels; ``styled`` is
            None for a cloak that is led to no picture.
        report: what :func:`build_report` returned.
        path, shown_as: see :func:`comfy_glaze.files.atomic.atomic_write`, also for errors.
        alpha: (1, 1, H, W) in [0, 1]; the pictures are shown on a chequered ground then.
        seen: what autoencoders make of them, a row each.
    """
    factor = _difference_factor(original, cloaked)
    # at the sheet's size: a large picture fills the memory
    small = {name: _shown(image) for name, image in (("before", original), ("after", cloaked))}
    pairs = zip(small["before"], small["after"], strict=True)
    difference = [0.5 + factor * (after - before) for before, after in pairs]
    see_through = None if alpha is None else _shown(alpha)
    poison = report.get("poison")
    result, led_to = "cloaked", f"styled: {report['target_style']['name'] or 'by hand'}"
    if poison:
        result, led_to = "poisoned", f"anchor: {poison['towards']}"
    if system := report.get("system"):
        result, led_to = f"cloaked as {system}", "led to"
    pictures = [
        ("original", _on_ground(small["before"], see_through)),
        *([] if styled is None else [(led_to, _on_ground(_shown(styled), see_through))]),
        (result, _on_ground(small["after"], see_through)),
        (f"difference times {factor}", difference),
    ]
    rows = [pictures] if len(difference) == 1 else [[picture] for picture in pictures]
    closer = _closer(original, cloaked, report["quality"], result, alpha)
    decoded = _seen_rows(seen, result)
    sheet = _compose([*rows, closer, *decoded], [*_lines(report), *(SEEN if seen else ())])
    with atomic_write(path, shown_as) as temporary:
        sheet.save(temporary, "PNG", optimize=True)


def draw_measured(
    original: Tensor,
    cloaked: Tensor,
    measured: dict[str, Any],
    left: Sequence[Retention],
    seen: Sequence[Seen] = (),
) -> Image.Image:
    """Where the cloak shows most, at 100%, its measures, and what countermeasures leave.

    Args:
        original, cloaked: images (1, 3, H, W) in [0, 1].
        measured: measures under the report's keys, with ``quality`` and ``rehearsal``.
        left: a row of the table each, in this order.
        seen: what autoencoders make of the pictures, a row each.
    """
    perceptual, shift = measured["perceptual"], measured["shift"]["512"]
    lines = [
        f"shift {shift:.3f}    {perceptual['metric']} "
        f"{perceptual['value']:.4f}    {_pixel_words(measured, '')}",
        _quality_words(measured["quality"]),
        *([REHEARSAL] if measured["rehearsal"] else []),
        *(SEEN if seen else ()),
    ]
    closer = _closer(original, cloaked, measured["quality"])
    above = _compose([closer, *_seen_rows(seen, "cloaked")], lines)
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
    original: Tensor,
    cloaked: Tensor,
    quality: dict[str, Any],
    result: str = "cloaked",
    alpha: Tensor | None = None,
) -> list[tuple[str, list[Tensor]]]:
    top, left, height, width = quality["worst"]
    place = View(top, left, height, width, height, width, native=True)
    see_through = None if alpha is None else [_small(place.cut(alpha), _PANEL)]
    return [
        (
            f"{label}, the most visible place at 100%",
            _on_ground([_small(place.cut(image), _PANEL)], see_through),
        )
        for label, image in (("original", original), (result, cloaked))
    ]


def _seen_rows(seen: Sequence[Seen], result: str) -> list[list[tuple[str, list[Tensor]]]]:
    words = "what a model's autoencoder makes of it"
    return [
        [
            (f"{words} ({one.name}): original", [_small(one.original, _DECODED)]),
            (result, [_small(one.cloaked, _DECODED)]),
        ]
        for one in seen
    ]


def _difference_factor(original: Tensor, cloaked: Tensor) -> int:
    """The round factor that makes a difference fill the grey scale without clipping much."""
    every = max(1, original.numel() // 10**6)
    sample = floats(cloaked.flatten()[::every]) - floats(original.flatten()[::every])
    largest = float(torch.quantile(sample.abs(), 0.99))
    return next((f for f in (50, 20, 10, 5, 2) if f * largest <= 0.5), 1)


def _lines(report: dict[str, Any]) -> list[str]:
    settings, perceptual, shift = report["settings"], report["perceptual"], report["shift"]
    lines = [
        *_verdict_words(report["verdict"]),
        *_effect_words(report["effect"]),
        f"shift {shift['512']:.3f} (512 px), {shift['native']:.3f} (native)    "
        + _budget_words(perceptual, report, settings),
        f"encoder {report['encoder']['name']}    method {settings['method']}, "
        f"{settings['steps']} steps    {report['gradients']:.1f} gradients    "
        f"{report['seconds']['optimize']:.1f} s on {report['device']}",
    ]
    if "encoders" in report:
        lines.append("shift of each encoder: " + "    ".join(_encoder_words(report)))
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
    told = f"Verdict: {verdict['level']}. {verdict['sentence']}"
    lines = [line for words in (told, verdict["try"]) for line in textwrap.wrap(words, _LINE)]
    return [*lines, f"What undoes it: {HOW_TO_BREAK}"]


def _effect_words(effect: dict[str, Any] | None) -> list[str]:
    """Nothing for poison, whose effect is not known."""
    if effect is None:
        return []
    told = (
        f"expected effect {effect['value']:.0%} ({effect['low']:.0%} to {effect['high']:.0%}) by "
        f"{effect['calibration']}, if {effect['assumes']}"
    )
    return textwrap.wrap(told, _LINE)


def _encoder_words(report: dict[str, Any]) -> list[str]:
    """The shift that each of several encoders sees, the least first."""
    return [f"{one['shift']['512']:.3f} {one['name']}" for one in report["encoders"]]


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


def _small(image: Tensor, longest: int) -> Tensor:
    """An image whose longer side is at most so many pixels."""
    height, width = image.shape[-2:]
    return shrink(image.cpu(), max(1, longest * min(height, width) // max(height, width)))


def _shown(image: Tensor) -> list[Tensor]:
    """A picture at the sheet's size; of a strip as many of its panels, evenly spread, as fit."""
    panels = evenly(panels_of(*image.shape[-2:]), _STRIP_PANELS)
    longest = _PANEL if len(panels) == 1 else _STRIP_PANEL
    return [_small(panel.cut(image), longest) for panel in panels]


def _on_ground(images: Sequence[Tensor], alpha: Sequence[Tensor] | None) -> list[Tensor]:
    """Images (1, 3, H, W) on a chequered ground, which shows where ``alpha`` lets it through."""
    if alpha is None:
        return list(images)
    shown = []
    for image, see_through in zip(images, alpha, strict=True):
        rows, columns = (torch.arange(side) // _SQUARE for side in image.shape[-2:])
        dark = (rows[:, None] + columns) % 2 == 1
        ground = torch.where(dark, _DARK, _LIGHT).expand_as(image)
        shown.append(torch.lerp(ground, image, see_through.clamp(0, 1)))
    return shown


def _side_by_side(images: Sequence[Tensor]) -> Image.Image:
    pictures = [Image.fromarray(to_levels(image)) for image in images]
    width = sum(picture.width for picture in pictures) + _MARGIN // 2 * (len(pictures) - 1)
    whole = Image.new("RGB", (width, max(picture.height for picture in pictures)), _PAPER)
    left = 0
    for picture in pictures:
        whole.paste(picture, (left, 0))
        left += picture.width + _MARGIN // 2
    return whole


def _compose(
    rows: Sequence[Sequence[tuple[str, Sequence[Tensor]]]], lines: Sequence[str]
) -> Image.Image:
    """Rows of pictures with a title each, and lines of text below them."""
    title, small = ImageFont.load_default(18), ImageFont.load_default(15)
    shown = [[(label, _side_by_side(images)) for label, images in row] for row in rows]
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
