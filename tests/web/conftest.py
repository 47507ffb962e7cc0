"""A page without a host: the widgets' own files and canned pictures, answered inside the browser.

Nothing listens and nothing connects: every request of the page is answered by a route.
"""

from __future__ import annotations

import functools
import io
import mimetypes
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFilter

from .chromium import open_chromium

WEB = Path(__file__).parents[2] / "web"
ADDRESS = "http://widgets.test"
THEMES = {
    "dark": {
        "--comfy-menu-bg": "#353535",
        "--comfy-input-bg": "#222",
        "--input-text": "#ddd",
        "--descrip-text": "#999",
        "--border-color": "#4e4e4e",
        "background": "#202020",
    },
    "light": {
        "--comfy-menu-bg": "#f5f5f5",
        "--comfy-input-bg": "#fff",
        "--input-text": "#222",
        "--descrip-text": "#5c5c5c",
        "--border-color": "#c4c4c4",
        "background": "#e4e4e4",
    },
}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with ExitStack() as stack:
        try:
            browser = stack.enter_context(open_chromium())
        except RuntimeError as missing:
            pytest.skip(str(missing))
        yield browser


@functools.cache
def harbour(width: int, height: int) -> Image.Image:
    """A bundled painting at a small size."""
    path = WEB.parent / "samples/harbour.png"
    return Image.open(path).convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


@functools.cache
def canned_picture(path: str) -> bytes | None:
    """What the page gets for /pictures/…: the painting, or a plainly different one."""
    name = path.rpartition("/")[2]
    picture = harbour(640, 480)
    if name.startswith("cloaked"):
        picture = picture.filter(ImageFilter.CONTOUR)
    elif name.startswith("thumb"):
        picture = harbour(96, 96).rotate(sum(map(ord, name)) % 360)
    elif not name.startswith("original"):
        return None
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


class WidgetPage:
    """A page that holds one widget, with what it says and does at hand."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda line: self.complaints.append(line.text) if line.type == "error" else None,
        )

    def mount(
        self, script: str, *, theme: str = "dark", size: tuple[int, int] = (380, 420)
    ) -> None:
        """Load the page and run a module script, which gets `place` to put its element into."""
        colours = ";".join(f"{name}:{value}" for name, value in THEMES[theme].items())
        body = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>widget</title>
            <body style="margin:16px;{colours}">
            <div id="place" style="width:{size[0]}px;height:{size[1]}px"></div>
            <script type="module">
              import {{ loadStyles }} from "/web/dom.mjs";
              loadStyles();
              await new Promise((loaded) => (document.head.lastChild.onload = loaded));
              const place = document.getElementById("place");
              {script}
              window.ready = true;
            </script>"""

        def answer(route: Any) -> None:
            path = route.request.url.removeprefix(ADDRESS).partition("?")[0]
            if path == "/":
                return route.fulfill(body=body, content_type="text/html")
            if path.startswith("/web/") and (file := WEB / path.removeprefix("/web/")).is_file():
                kind = "text/javascript" if file.suffix == ".mjs" else mimetypes.guess_type(file)[0]
                return route.fulfill(body=file.read_bytes(), content_type=kind)
            picture = canned_picture(path)
            if picture is None:
                return route.fulfill(status=404, body="")
            return route.fulfill(body=picture, content_type="image/png")

        self.page.route("**/*", answer)
        self.page.goto(f"{ADDRESS}/")
        self.page.wait_for_function("window.ready")
        self.page.wait_for_function("[...document.images].every((image) => image.complete)")

    def screenshot(self, name: str) -> bytes:
        """The widget as a picture; kept under WIDGET_SCREENSHOTS where that folder is named."""
        picture: bytes = self.page.screenshot()
        if folder := os.environ.get("WIDGET_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / f"{name}.png").write_bytes(picture)
        return picture


@pytest.fixture
def widget_page(browser: Any) -> Iterator[WidgetPage]:
    page = browser.new_page(viewport={"width": 412, "height": 460})
    widget = WidgetPage(page)
    yield widget
    page.close()
    assert not widget.complaints, "\n".join(widget.complaints)


@pytest.fixture
def colours() -> Callable[[bytes], int]:
    """How many different colours a screenshot holds: an empty page has a handful."""

    def count(picture: bytes) -> int:
        found = Image.open(io.BytesIO(picture)).convert("RGB").getcolors(1 << 20)
        return len(found or ())

    return count
