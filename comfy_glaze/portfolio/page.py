"""The page of a portfolio: every picture with its verdict and measures, the weakest first."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from .. import HOW_TO_BREAK
from ..files.html import write_html
from ..images import LEVELS
from .manifest import Manifest
from .outdated import published_pictures
from .outputs import with_ending

_WIDTH = 1600  # px, of a row's picture: panels of a sheet stay large enough to judge
_CLOAKS = {"title": "Cloaked portfolio", "made": "cloak", "led_to": "the target style"}
_POISON = {"title": "Poisoned pictures", "made": "poison", "led_to": "the anchors"}
_LEVELS = ("none", "weak", "fair", "good")
_EMBEDDED = re.compile(r'data-sheet="([0-9-]+)" src="(data:image/webp;base64,[A-Za-z0-9+/=]+)"')


def write_page(reports: Path, manifest: Manifest, failures: Sequence[str]) -> Path:
    """Write ``index.html`` into the reports' folder, and return its path.

    It holds everything that the manifest knows and that has a report, the weakest verdict first,
    and needs no other file; names and sentences are escaped.  Pictures that an earlier page holds
    already are taken from it.

    Raises:
        ArtworkError: it cannot be written.
    """
    page = reports / "index.html"
    found = sorted(_reports_of(reports, manifest), key=lambda pair: _strength(pair[1]))
    poison = any(report.get("poison") for _, report in found)
    embedded = _embedded_in(page)
    values = {
        **(_POISON if poison else _CLOAKS),
        "count": len(found),
        "counts": _counts([report for _, report in found]),
        "how_to_break": HOW_TO_BREAK,
        "rehearsal": any(report.get("rehearsal") for _, report in found),
        "failures": [_printable(sentence) for sentence in failures],
        "outdated": _outdated(reports, manifest),
        "rows": (_row(reports, name, report, embedded) for name, report in found),
    }
    write_html(Path(__file__).with_name("page.html.jinja"), values, page)
    return page


def _reports_of(reports: Path, manifest: Manifest) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in manifest.entries:
        try:
            text = with_ending(reports / name, ".glaze.json").read_text("utf-8")
            report = json.loads(text)
            _strength(report)
        except (OSError, ValueError, KeyError, TypeError):  # removed, or changed by hand
            continue
        yield name, report


def _final(report: dict[str, Any]) -> dict[str, Any]:
    """The measures of what the file holds."""
    final: dict[str, Any] = report.get("encoded", report)
    return final


def _strength(report: dict[str, Any]) -> tuple[int, float, float]:
    """What pictures are sorted by; those without a verdict come last."""
    verdict, effect = report.get("verdict"), report.get("effect")
    level = _LEVELS.index(verdict["level"]) if verdict else len(_LEVELS)
    return level, effect["value"] if effect else 0.0, _final(report)["shift"]["512"] + 0.0


def _counts(reports: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    """How many pictures have each verdict, those that any has, the best first."""
    levels = [report["verdict"]["level"] for report in reports if report.get("verdict")]
    return [(level, levels.count(level)) for level in reversed(_LEVELS) if level in levels]


def _outdated(reports: Path, manifest: Manifest) -> list[dict[str, Any]]:
    """The pictures that were cloaked before something changed, the worst first.

    Rehearsals by themselves are left out: the page's banner tells of them.
    """
    return [
        {
            "name": _printable(picture.name),
            "made": f"{picture.made:%d %B %Y}",
            "version": picture.version,
            "led": picture.led,
            "changes": [change.says for change in picture.changes],
        }
        for picture in published_pictures(reports, manifest)
        if any(change.since for change in picture.changes)
    ]


def _row(
    reports: Path, name: str, report: dict[str, Any], embedded: Mapping[str, str]
) -> dict[str, Any]:
    final = _final(report)
    value, psnr, effect = final["perceptual"]["value"], final["psnr"], report.get("effect")
    sheet = with_ending(reports / name, ".sheet.png")
    stamp = _stamp(sheet)
    return {
        "name": _printable(name),
        "link": quote(sheet.relative_to(reports).as_posix(), errors="surrogateescape"),
        "stamp": stamp,
        "picture": embedded.get(stamp) or _small(sheet),
        "verdict": report.get("verdict"),
        "lost": not final.get("survived", True),
        "cells": (
            ("expected effect", f"{effect['value']:.0%}" if effect else "–"),
            ("shift", f"{final['shift']['512']:.3f}"),
            ("perceptual", "–" if value is None else f"{value:.4f}"),
            ("largest change", f"{final['linf'] * LEVELS:.0f} levels"),
            ("PSNR", "–" if psnr is None else f"{psnr:.1f} dB"),
        ),
    }


def _printable(text: str) -> str:
    """Text whose unprintable characters, and bytes that are no text, are shown as such."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _embedded_in(page: Path) -> dict[str, str]:
    """The pictures of an earlier page, by the stamps of their sheets."""
    try:
        return dict(_EMBEDDED.findall(page.read_text("utf-8")))
    except (OSError, ValueError):
        return {}


def _stamp(sheet: Path) -> str:
    """Tells one sheet, as it is now, from others."""
    try:
        found = sheet.stat()
    except OSError:
        return "0"
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"


def _small(sheet: Path) -> str:
    """A picture's sheet, no wider than the page shows it, as an address that holds it."""
    try:
        with Image.open(sheet) as image:
            small = image.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return "data:,"
    small.thumbnail((_WIDTH, 4 * _WIDTH))
    buffer = BytesIO()
    small.save(buffer, "WEBP", quality=70)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
