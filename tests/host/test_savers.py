"""Other savers before and behind a cloak: every pixel arrives, and what they write beside it.

The host's own are always tried.  Those of three packs are tried where COMFYUI_PACKS names a folder
with checkouts of ComfyUI-Image-Saver, ComfyUI-KJNodes and save-image-extended-comfyui.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from comfy_glaze.files.artwork import load_artwork

from ..conftest import ARTWORKS
from .conftest import PACK_FOLDER, copy_pack, free_port
from .graphs import node, rehearsal_graph
from .server import Server, start_server

STYLE = "Blue woodblock print"  # the target, which the workflow names


@dataclass(frozen=True)
class Saver:
    """A node that saves pictures.

    Attributes:
        folder: of its files, below ``others`` in the output folder.
        inputs: that are not its defaults, beside the pictures.
        quiet: its switch for metadata; empty where it has none.
    """

    folder: str
    inputs: dict[str, Any] = field(default_factory=dict)
    quiet: dict[str, Any] = field(default_factory=dict)


PNG = {"format": "png", "format.bit_depth": "8-bit", "format.input_color_space": "sRGB"}
SAVERS = {
    "SaveImage": Saver("image", {"filename_prefix": "others/image/x"}),
    "SaveImageAdvanced": Saver("advanced", {"filename_prefix": "others/advanced/x"} | PNG),
    "SaveImageKJ": Saver("kj", {"filename_prefix": "others/kj/x"}),
    "SaveImageWithAlpha": Saver(
        "alpha", {"filename_prefix": "others/alpha/x", "mask": ["nothing", 0]}
    ),
    "Image Saver Simple": Saver(
        "simple",
        {"filename": "x", "path": "others/simple", "extension": "png"},
        {"embed_workflow": False},
    ),
    "SaveImageExtended": Saver(
        "extended",
        {"filename_prefix": "x", "filename_keys": "", "output_ext": ".png"}
        | {"foldername_prefix": "others/extended", "foldername_keys": ""},
        {"save_metadata": False},
    ),
}
OWN = ("SaveImage", "SaveImageAdvanced")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host's folders with one small picture, and the other packs where there are any."""
    base = tmp_path_factory.mktemp("savers")
    copy_pack(base / "custom_nodes" / PACK_FOLDER)
    for folder in ("input", "output", "user"):
        (base / folder).mkdir()
    for pack in Path(os.environ.get("COMFYUI_PACKS", base / "none")).glob("*/"):
        (base / "custom_nodes" / pack.name).symlink_to(pack, target_is_directory=True)
    picture = Image.open(ARTWORKS / "harbour.png").convert("RGB").crop((380, 260, 460, 324))
    picture.save(base / "input" / "art.png")
    return base


@pytest.fixture(scope="module")
def server(host_path: Path, base: Path) -> Iterator[Server]:
    running = start_server(host_path, base, free_port())
    yield running
    running.stop()


@pytest.fixture(scope="module")
def there(server: Server) -> dict[str, Any]:
    """Those of the savers that this host has, as it describes them."""
    known = server.get("/object_info")
    found = {kind: known[kind] for kind in SAVERS if kind in known}
    assert "SaveImage" in found
    if "COMFYUI_PACKS" in os.environ:
        assert set(SAVERS) - set(OWN) <= set(found), "a pack did not load"
    return found


def saving(kind: str, described: Any, images: list[Any], **changes: Any) -> dict[str, Any]:
    """A saver with its defaults, and with what this file sets."""
    inputs = {
        name: options[1]["default"] if len(options) > 1 and "default" in options[1] else None
        for name, options in described["input"]["required"].items()
    }
    inputs = {name: value for name, value in inputs.items() if value is not None}
    return node(kind, **(inputs | SAVERS[kind].inputs | changes), images=images)


def style_graph(source: str) -> dict[str, Any]:
    graph = rehearsal_graph(source)
    graph["target"]["inputs"]["style"] = STYLE
    graph["nothing"] = node("SolidMask", value=0.0, width=80, height=64)
    return graph


def files(server: Server, kind: str) -> list[Path]:
    """What a saver has written, the oldest first."""
    return sorted((server.base / "output" / "others" / SAVERS[kind].folder).iterdir())


@pytest.fixture(scope="module")
def behind(server: Server, there: dict[str, Any]) -> tuple[dict[str, Path], Path]:
    """One cloak, saved by all of them: their files by kind, and ours."""
    graph = style_graph("art.png")
    for kind, described in there.items():
        graph[kind] = saving(kind, described, ["cloak", 0])
    run = server.run(graph)
    assert run.end == "execution_success", run.events[-1]
    written = {kind: files(server, kind)[0] for kind in there}
    (row,) = run.shown("save")["glaze"]
    return written, saved_file(server, row)


def saved_file(server: Server, row: dict[str, Any]) -> Path:
    return server.base / "output" / row["file"]["subfolder"] / row["file"]["filename"]


def test_every_pixel_of_a_cloak_arrives(
    there: dict[str, Any], behind: tuple[dict[str, Path], Path]
) -> None:
    written, ours = behind
    assert written.keys() == there.keys()
    cloaked = load_artwork(ours).pixels
    for kind, path in written.items():
        assert torch.equal(load_artwork(path).pixels, cloaked), kind


def test_all_of_them_write_the_target_style_and_ours_does_not(
    behind: tuple[dict[str, Path], Path],
) -> None:
    """As the page of Cloak says."""
    written, ours = behind
    assert STYLE.encode() not in ours.read_bytes()
    for kind, path in written.items():
        assert STYLE.encode() in path.read_bytes(), kind


def test_those_with_a_switch_keep_it_to_themselves(
    server: Server, there: dict[str, Any], behind: tuple[dict[str, Path], Path]
) -> None:
    kinds = [kind for kind in there if SAVERS[kind].quiet]
    if not kinds:
        pytest.skip("COMFYUI_PACKS names no packs")
    graph = style_graph("art.png")
    for kind in kinds:
        graph[kind] = saving(kind, there[kind], ["cloak", 0], **SAVERS[kind].quiet)
    assert server.run(graph).end == "execution_success"
    for kind in kinds:
        first, second = files(server, kind)
        assert STYLE.encode() in first.read_bytes(), kind
        assert STYLE.encode() not in second.read_bytes(), kind


def test_a_cloak_of_what_they_saved_carries_nothing_of_their_metadata(
    server: Server, behind: tuple[dict[str, Path], Path]
) -> None:
    """Behind a saver: the folder that it saves to is the source."""
    written, _ = behind
    graph = style_graph("others/ (output)")
    graph["cloak"]["inputs"]["steps"] = 1
    graph["save"]["inputs"]["filename_prefix"] = "again/%name%"
    run = server.run(graph)
    assert run.end == "execution_success", run.events[-1]
    rows = run.shown("save")["glaze"]
    assert len(rows) >= len(written)
    for row in rows:
        assert STYLE.encode() not in saved_file(server, row).read_bytes()
        assert row["measures"]["linf"] > 0


def test_a_saver_in_front_passes_every_pixel_on(server: Server, there: dict[str, Any]) -> None:
    """Where the host's own have an output, the cloak can follow it."""
    kinds = [kind for kind in OWN if kind in there and there[kind]["output"]]
    if not kinds:
        pytest.skip("this host's savers have no output")
    for kind in kinds:
        graph = style_graph("art.png")
        graph["front"] = saving(kind, there[kind], ["artwork", 0], filename_prefix=f"front/{kind}")
        graph["cloak"]["inputs"] |= {"image": ["front", 0], "steps": 1}
        graph["save"]["inputs"]["filename_prefix"] = f"front-cloaked/{kind}"
        run = server.run(graph)
        assert run.end == "execution_success", run.events[-1]
        (row,) = run.shown("save")["glaze"]
        original = load_artwork(server.base / "temp" / row["original"]["filename"]).pixels
        assert torch.equal(original, load_artwork(server.base / "input" / "art.png").pixels)
