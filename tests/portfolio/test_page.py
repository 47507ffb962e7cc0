"""The page of a portfolio, read as a browser reads it."""

from __future__ import annotations

import base64
import os
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from comfy_glaze import HOW_TO_BREAK
from comfy_glaze.files.atomic import write_json
from comfy_glaze.portfolio import page as page_module
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


def verdict(level: str) -> dict[str, Any]:
    return {"verdict": {"level": level, "sentence": f"It is {level}.", "try": f"Try {level}."}}


def page_with(folder: Path, reports: dict[str, dict[str, Any]]) -> Reader:
    page_of(folder, list(reports), [])
    for name, report in reports.items():
        write_json(REPORT | report, with_ending(folder / name, ".glaze.json"))
    return Reader(write_page(folder, Manifest(folder), []).read_text("utf-8"))


def test_weak_pictures_come_first_and_say_what_to_try(tmp_path: Path) -> None:
    page = page_with(
        tmp_path,
        {
            "far.png": verdict("good") | {"shift": {"512": 0.8}},
            "other system.png": {"verdict": None},
            "weak.png": verdict("weak") | {"shift": {"512": 0.4}},
            "more/weak.png": verdict("weak") | {"shift": {"512": 0.5}},
            "none.png": verdict("none") | {"shift": {"512": 0.1}},
        },
    )
    text = " ".join("".join(page.text).split())
    places = [text.index(name) for name in ("none.png", "weak.png", "more/weak.png", "far.png")]
    assert places == sorted(places)
    assert "It is weak. Try weak." in text
    assert "1 good, 2 weak, 1 none." in text
    assert f"What undoes it: {HOW_TO_BREAK}." in text
    marked = [given["class"] for tag, given in page.elements if tag == "span"]
    assert marked == ["level none", "level weak", "level weak", "level good"]
    assert "Rehearsal" not in text
    assert "Rehearsal." in "".join(page_with(tmp_path, {"a.png": {"rehearsal": True}}).text)


def test_pictures_are_large_and_those_of_an_earlier_page_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page_of(tmp_path, ["a.png", "b.png"], [])
    noise = Image.effect_noise((2000, 600), 60).convert("RGB")
    noise.save(with_ending(tmp_path / "a.png", ".sheet.png"))

    def sources() -> list[str]:
        page = Reader(write_page(tmp_path, Manifest(tmp_path), []).read_text("utf-8"))
        return [str(given["src"]) for tag, given in page.elements if tag == "img"]

    first = sources()
    shown = Image.open(BytesIO(base64.b64decode(max(first, key=len).partition(",")[2])))
    assert shown.size == (1600, 480)
    made: list[Path] = []
    monkeypatch.setattr(page_module, "_small", lambda sheet: made.append(sheet) or "data:,")
    assert sources() == first
    assert made == []
    Image.new("RGB", (41, 30)).save(with_ending(tmp_path / "b.png", ".sheet.png"))
    sources()
    assert [sheet.name for sheet in made] == ["b.png.sheet.png"]
