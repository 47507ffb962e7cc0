"""The page of a portfolio: every picture with its measures, the worst first, in one file."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from ..files.atomic import atomic_write
from ..images import LEVELS
from .manifest import Manifest
from .outputs import with_ending

_WIDTH = 560  # px, of a row's picture
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;
color:#202124;background:#faf9f7}
table{border-collapse:collapse;width:100%}td,th{padding:.4rem .6rem;text-align:right;
border-bottom:1px solid #dedbd5;vertical-align:top}td:first-child,th:first-child{text-align:left}
img{display:block;max-width:100%}.name{overflow-wrap:anywhere}.bad{color:#a3341f}
"""


@dataclass(frozen=True)
class _Words:
    title: str
    one: str
    led_to: str


_CLOAKS = _Words("Cloaked portfolio", "cloak", "the target style")
_POISON = _Words("Poisoned pictures", "poison", "the anchors")


def write_page(reports: Path, manifest: Manifest, failures: Sequence[str]) -> Path:
    """Write ``index.html`` into the reports' folder, and return its path.

    It holds everything that the manifest knows and that has a report, the weakest shift first, and
    needs no other file; names and sentences are escaped.

    Raises:
        ArtworkError: it cannot be written.
    """
    page = reports / "index.html"
    found = sorted(_reports_of(reports, manifest), key=lambda pair: _final(pair[1])["shift"]["512"])
    words = _POISON if any(report.get("poison") for _, report in found) else _CLOAKS
    failed = "".join(f"<li>{_text(sentence)}</li>" for sentence in failures)
    with atomic_write(page) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>{words.title}</title><style>{_STYLE}</style>"
            f"<h1>{words.title}</h1><p>{len(found)} pictures, the weakest {words.one} "
            f"first. Keep this page to yourself: it shows the originals and {words.led_to}.</p>"
        )
        if failed:
            file.write(f'<h2 class="bad">Failed</h2><ul class="bad">{failed}</ul>')
        file.write(
            "<table><tr><th>picture</th><th>shift</th><th>perceptual</th><th>largest change</th>"
            "<th>PSNR</th></tr>"
        )
        for name, report in found:
            file.write(_row(reports, name, report))
        file.write("</table></html>\n")
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


def _row(reports: Path, name: str, report: dict[str, Any]) -> str:
    final = _final(report)
    value, psnr = final["perceptual"]["value"], final["psnr"]
    lost = not final.get("survived", True)
    one = _POISON.one if report.get("poison") else _CLOAKS.one
    cells = [
        f"{final['shift']['512']:.3f}",
        "–" if value is None else f"{value:.4f}",
        f"{final['linf'] * LEVELS:.0f} levels",
        "–" if psnr is None else f"{psnr:.1f} dB",
    ]
    sheet = with_ending(reports / name, ".sheet.png")
    link = quote(sheet.relative_to(reports).as_posix(), errors="surrogateescape")
    note = f'<p class="bad">Too much of the {one} is lost in this format.</p>' if lost else ""
    picture = f'<a href="{html.escape(link)}"><img alt="" src="{_thumbnail(sheet)}"></a>'
    return (
        f'<tr><td><span class="name">{_text(name)}</span>{picture}{note}</td>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
    )


def _text(text: str) -> str:
    """Text for the page: nothing in it is markup, and bytes that are no text are shown as such."""
    plain = text if text.isprintable() else ascii(text)[1:-1]
    return html.escape(plain)


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
