"""The page of a portfolio: every picture with its measures, the worst first, in one file."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from ..files.html import write_html
from ..images import LEVELS
from .manifest import Manifest
from .outputs import with_ending

_WIDTH = 560  # px, of a row's picture
_CLOAKS = {"title": "Cloaked portfolio", "made": "cloak", "led_to": "the target style"}
_POISON = {"title": "Poisoned pictures", "made": "poison", "led_to": "the anchors"}


def write_page(reports: Path, manifest: Manifest, failures: Sequence[str]) -> Path:
    """Write ``index.html`` into the reports' folder, and return its path.

    It holds everything that the manifest knows and that has a report, the weakest shift first, and
    needs no other file; names and sentences are escaped.

    Raises:
        ArtworkError: it cannot be written.
    """
    page = reports / "index.html"
    found = sorted(_reports_of(reports, manifest), key=lambda pair: _final(pair[1])["shift"]["512"])
    poison = any(report.get("poison") for _, report in found)
    values = {
        **(_POISON if poison else _CLOAKS),
        "count": len(found),
        "failures": [_printable(sentence) for sentence in failures],
        "rows": (_row(reports, name, report) for name, report in found),
    }
    write_html(Path(__file__).with_name("page.html.jinja"), values, page)
    return page


def _reports_of(reports: Path, manifest: Manifest) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in manifest.entries:
        try:
            text = with_ending(reports / name, ".glaze.json").read_text("utf-8")
            report = json.loads(text)
            _final(report)["shift"]["512"] + 0
        except (OSError, ValueError, KeyError, TypeError):  # removed, or changed by hand
            continue
        yield name, report


def _final(report: dict[str, Any]) -> dict[str, Any]:
    """The measures of what the file holds."""
    final: dict[str, Any] = report.get("encoded", report)
    return final


def _row(reports: Path, name: str, report: dict[str, Any]) -> dict[str, Any]:
    final = _final(report)
    value, psnr = final["perceptual"]["value"], final["psnr"]
    sheet = with_ending(reports / name, ".sheet.png")
    return {
        "name": _printable(name),
        "link": quote(sheet.relative_to(reports).as_posix(), errors="surrogateescape"),
        "thumbnail": _thumbnail(sheet),
        "lost": not final.get("survived", True),
        "made": (_POISON if report.get("poison") else _CLOAKS)["made"],
        "cells": (
            f"{final['shift']['512']:.3f}",
            "–" if value is None else f"{value:.4f}",
            f"{final['linf'] * LEVELS:.0f} levels",
            "–" if psnr is None else f"{psnr:.1f} dB",
        ),
    }


def _printable(text: str) -> str:
    """Text whose unprintable characters, and bytes that are no text, are shown as such."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _thumbnail(sheet: Path) -> str:
    """A picture's sheet, made small, as an address that holds it."""
    try:
        with Image.open(sheet) as image:
            small = image.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return "data:,"
    small.thumbnail((_WIDTH, _WIDTH))
    buffer = BytesIO()
    small.save(buffer, "WEBP", quality=60)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
