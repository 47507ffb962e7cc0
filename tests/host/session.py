"""A host, its page and its pictures, for one long session in a browser."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from comfy_glaze.files.artwork import Artwork, save_artwork
from comfy_glaze.images import from_levels

from .conftest import ROOT
from .page import HostPage
from .server import Server, start_server
from .test_workflows import saved_rows

REHEARSAL = ROOT / "workflows/Glaze 04 Try it with no download.json"
LOAD, CLOAK, SAVE = "GlazeLoadArtwork", "GlazeCloakOptimize", "GlazeSaveCloaked"
WORKS = 4


def painting(number: int = 0, width: int = 64, height: int = 48) -> Image.Image:
    """A part of a painting, another one for each number."""
    x, y = 380 + 40 * number, 200 + 30 * number
    harbour = Image.open(ROOT / "samples/harbour.png").convert("RGB")
    return harbour.crop((x, y, x + width, y + height))


def as_png(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def write_pictures(base: Path) -> None:
    """An ordinary picture, one with a hole, one of 16 bits, and a folder."""
    works = base / "input" / "works"
    works.mkdir(parents=True)
    for number in range(WORKS):
        painting(number).save(works / f"{number}.png")
    shutil.copyfile(works / "0.png", base / "input" / "example.png")
    holed = painting(1).convert("RGBA")
    holed.paste((0, 0, 0, 0), (0, 0, 20, 20))
    holed.save(base / "input" / "holed.png")
    levels = np.asarray(painting(2), dtype=np.uint16) * 257 + 3
    pixels = from_levels(np.asarray(painting(2)).copy())
    save_artwork(pixels, Artwork(pixels, levels=levels), base / "input" / "deep.png")


@dataclass(eq=False)
class Session:
    """A host with its page; the host can be killed and started again at the same address."""

    path: Path
    server: Server
    host: HostPage

    def restart(self) -> None:
        self.server = start_server(self.path, self.server.base, self.server.port)

    def begin(self, source: str = "example.png") -> None:
        """The rehearsal's graph, with a source and few steps."""
        self.host.drop(REHEARSAL)
        self.host.set_widget(LOAD, "source", source)
        self.host.set_widget(CLOAK, "steps", 2)
        self.host.show_at()  # all of it; it opens at its beginning

    def run(self) -> list[dict[str, Any]]:
        """Press Run; what Save Cloaked shows."""
        self.host.run()
        return saved_rows(self.host)

    def file(self, row: dict[str, Any]) -> Path:
        return self.server.base / "output" / row["file"]["subfolder"] / row["file"]["filename"]

    def files(self) -> list[Path]:
        return [path for path in (self.server.base / "output").rglob("*.png") if path.is_file()]

    def source(self) -> str:
        return str(self.host.widget(LOAD, "source"))

    def wait_for_source(self, part: str) -> None:
        self.host.page.wait_for_function(
            """([type, part]) => app.graph.nodes.find((node) => node.type === type)
                .widgets.find((widget) => widget.name === "source").value.includes(part)""",
            arg=[LOAD, part],
        )
