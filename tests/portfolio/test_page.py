"""The page of a portfolio, read as a browser reads it."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from comfy_glaze.files.atomic import write_json
from comfy_glaze.portfolio.manifest import Manifest
from comfy_glaze.portfolio.outputs import with_ending
from comfy_glaze.portfolio.page import write_page

REPORT: dict[str, Any] = {
    "shift": {"512": 0.25},
    "perceptual": {"value": None},
    "linf": 8 / 255,
    "psnr": None,
}
HOSTILE = [
    '"><img src=x onerror="alert(1)">.png',
    "' onmouseover='alert(1)'.png",
    "</style><script>alert(1)</script>.png",
    "javascript:alert(1).png",
    "&lt;b&gt; is text.png",
    "{{ 7 * 7 }}{% raw %}.png",
]


class Reader(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page_of(folder: Path, names: list[str], failures: list[str]) -> Reader:
    manifest = Manifest(folder)
    for name in names:
        manifest.promise({"output": {"file": name, "sha256": "0"}})
        report = with_ending(folder / name, ".glaze.json")
        report.parent.mkdir(parents=True, exist_ok=True)
        write_json(REPORT, report)
        Image.new("RGB", (40, 30)).save(with_ending(folder / name, ".sheet.png"))
    return Reader(write_page(folder, manifest, failures).read_text("utf-8"))


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such names")
def test_hostile_names_stay_text(tmp_path: Path) -> None:
    plain = page_of(tmp_path / "plain", [f"{n}.png" for n in range(len(HOSTILE))], ["x", "y"])
    page = page_of(tmp_path / "hostile", HOSTILE, HOSTILE[:2])
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    attributes = [set(given) for _, given in page.elements]
    assert attributes == [set(given) for _, given in plain.elements]
    assert set(HOSTILE) <= set(page.text)
    links = [given["href"] for tag, given in page.elements if tag == "a"]
    assert sorted(links) == sorted(quote(f"{name}.sheet.png") for name in HOSTILE)
    pictures = [given["src"] for tag, given in page.elements if tag == "img"]
    assert len(pictures) == len(HOSTILE)
    assert all(str(source).startswith("data:image/webp;base64,") for source in pictures)


def test_one_picture_is_one_picture(tmp_path: Path) -> None:
    assert "1 picture, the weakest" in "".join(page_of(tmp_path, ["art.png"], []).text)
