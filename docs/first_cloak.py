r"""Take the pictures of docs/first-cloak.md, and the first view of the templates as they open.

    COMFYUI_PATH=path/to/ComfyUI PYTHONPATH=. python docs/first_cloak.py [laptop] [large] \
        [languages]

They show the page of a ComfyUI with no checkpoint in it, as it comes: at the size of a
laptop and of a large screen; the app, the canvas and Nodes 2.0; and the app in each language.
The painting is the pack's own at its own size, so that the verdict is what a reader gets.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path

from PIL import Image
from screenshots import PACK, ROOT, save_webp

from tests.host.conftest import copy_pack, free_port
from tests.host.page import HostPage, open_host
from tests.host.server import start_server
from tests.host.test_app import open_app, run, search_templates, templates_of

OUT = ROOT / "docs/first-cloak"
SIZES = {"laptop": (1366, 768), "large": (1920, 1080)}
STEPS = "Glaze 02 See every step"
LANGUAGES = ("zh", "ja", "ko", "fr", "ru", "es")


def keep(host: HostPage, name: str) -> None:
    """Save what the page shows, with no tooltip."""
    host.page.mouse.move(28, 450)  # beside all that can be pointed at
    host.page.wait_for_timeout(700)
    save_webp(Image.open(io.BytesIO(host.page.screenshot())), OUT / f"{name}.webp", 1920, 150_000)


def go_through(url: str, size: str) -> None:
    """The app from the template browser to the result, and a template's first view."""
    width, height = SIZES[size]
    ending = "" if size == "laptop" else f"-{size}"
    with open_host(url, width=width, height=height, Comfy_VueNodes_Enabled=False) as host:
        host.command("Comfy.BrowseTemplates")
        templates_of(host.page, PACK)
        keep(host, f"templates{ending}")
        host.page.keyboard.press("Escape")
        open_app(host)
        keep(host, f"app-before{ending}")
        run(host, 1800)
        keep(host, f"app-after{ending}")
        open_template(host, STEPS)
        keep(host, f"steps-classic{ending}")
    with open_host(url, width=width, height=height, Comfy_VueNodes_Enabled=True) as host:
        open_template(host, STEPS)
        keep(host, f"steps-nodes-2{ending}")


def open_template(host: HostPage, name: str) -> None:
    """Open a template from the browser, and let it settle."""
    search_templates(host).get_by_text(name, exact=True).first.click()
    host.page.wait_for_function("app.graph.nodes.length > 8", timeout=60_000)
    host.page.wait_for_timeout(4000)  # the pictures, and the gallery's


def panel(host: HostPage) -> Image.Image:
    """The app's panel as the page shows it."""
    box = host.page.get_by_test_id("linear-widgets").bounding_box()
    return Image.open(io.BytesIO(host.page.screenshot(clip=box))).convert("RGB")


def speak_all(url: str) -> None:
    """The app's panel in each language, before a run and after it, side by side."""
    with open_host(url, Comfy_Locale="en") as host:
        open_app(host)  # the host's own tour, skipped by its English name
    columns = []
    for language in LANGUAGES:
        settings = {"Comfy_VueNodes_Enabled": False, "Comfy_Locale": language}
        with open_host(url, width=1366, height=900, **settings) as host:
            open_app(host)
            before = panel(host)
            host.page.evaluate("window.seen.length = 0")
            host.page.get_by_test_id("linear-run-button").locator("button").last.click()
            assert host.wait_for_end(1800) == "execution_success"
            host.page.wait_for_timeout(2500)
            columns.append((before, panel(host)))
    width, height = columns[0][0].size
    sheet = Image.new("RGB", (width * len(columns), 2 * height))
    for number, column in enumerate(columns):
        for row, picture in enumerate(column):
            sheet.paste(picture, (number * width, row * height))
    save_webp(sheet, OUT / "languages.webp", 1920, 350_000)


def main() -> None:
    """Take the pictures that are named, or all."""
    chosen = sys.argv[1:] or [*SIZES, "languages"]
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        copy_pack(base / "custom_nodes" / PACK)
        for name in ("input", "output", "user", "models/checkpoints"):
            (base / name).mkdir(parents=True)
        server = start_server(Path(os.environ["COMFYUI_PATH"]), base, free_port())
        try:
            for size in SIZES:
                if size in chosen:
                    go_through(server.url, size)
            if "languages" in chosen:
                speak_all(server.url)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
