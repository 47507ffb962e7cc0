"""What the host sees of the pack before anything runs."""

from __future__ import annotations

import ast
import asyncio
import importlib
import json
import logging
import os
import re
import shutil
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from comfy_glaze.styles.bank import builtin_styles

from .conftest import NAME, ROOT, Pack

HOST_MODULES = {
    "comfy",
    "comfy_execution",
    "folder_paths",
    "server",
    "latent_preview",
    "execution",
    "aiohttp",
}

# Frozen: shared workflows store a node's widgets by position, and wires by the sockets' names.
WIDGETS: dict[str, list[tuple[str, Any]]] = {
    "GlazeLoadArtwork": [("source", None), ("first", 1), ("last", 0)],
    "GlazeLoadEncoder": [("name", "embedded (rehearsal only)")],
    "GlazeCombineEncoders": [
        *((f"weight_{number}", 1.0) for number in (1, 2, 3, 4)),
        ("also", "nothing"),
    ],
    "GlazeLoadStyleBank": [("bank", "built in"), ("genres", ""), ("without_living", False)],
    "GlazeBuildStyleBank": [
        ("styles", "wikiart"),
        ("images", "none: draw them"),
        ("name", "my-styles"),
        ("genres", ""),
        ("without_living", False),
        ("per_style", 6),
        ("steps", 20),
        ("cfg", 7.5),
        ("denoise", 0.7),
        ("short_side", 512),
    ],
    "GlazeSelectTargetStyle": [
        ("style", "auto"),
        ("artist", ""),
        ("low", 50.0),
        ("high", 75.0),
        ("style_seed", 0),
    ],
    "GlazeStyleTransfer": [
        ("steps", 30),
        ("cfg", 7.5),
        ("denoise", 0.5),
        ("sampler", "euler"),
        ("scheduler", "normal"),
        ("seed", 0),
        ("short_side", 768),
    ],
    "GlazeLPIPSBudget": [
        ("preset", "default"),
        ("limit", 0.05),
        ("linf", 6.0),
        ("metric", "auto"),
        ("alpha", 20.0),
        ("uniform", False),
    ],
    "GlazeCloakOptimize": [
        ("method", "fast"),
        ("steps", 0),
        ("robustness", "none"),
        ("seed", 0),
        ("tile", False),
        ("objective", "auto"),
    ],
    "GlazeCloakPicture": [
        ("preset", "default"),
        ("uniform", False),
        ("style", "auto"),
        ("artist", ""),
        ("method", "fast"),
    ],
    "GlazeNightshadePoison": [
        ("concept", "dog"),
        ("towards", "cat"),
        ("caption", ""),
        ("method", "fast"),
        ("steps", 0),
        ("robustness", "none"),
        ("seed", 0),
    ],
    "GlazeSaveCloaked": [
        ("filename_prefix", "cloaked/%name%"),
        ("format", "same"),
        ("quality", 95),
        ("metadata", False),
        ("resume", False),
        ("no_ai_training", False),
    ],
    "GlazeApplyCountermeasure": [("countermeasure", "save as JPEG"), ("amount", 0.0), ("seed", 0)],
    "GlazeMeasureCloak": [
        ("countermeasures", "everyday"),
        ("custom", "jpeg-420:75,noise"),
        ("draws", 3),
        ("metric", "auto"),
        ("objective", "auto"),
    ],
    "GlazeBaselineCloak": [
        ("system", "photoguard"),
        ("method", "fast"),
        ("steps", 0),
        ("robustness", "none"),
        ("seed", 0),
    ],
    "GlazeGenreShift": [("genre", "auto"), ("judge", "the wired CLIP")],
}
SOCKETS: dict[str, tuple[str, str]] = {
    "GlazeLoadArtwork": ("", "image keep_clear artwork works"),
    "GlazeLoadEncoder": ("", "encoder"),
    "GlazeCombineEncoders": ("encoder_1 encoder_2 encoder_3 encoder_4", "encoder"),
    "GlazeLoadStyleBank": ("", "style_bank"),
    "GlazeBuildStyleBank": ("encoder model clip vae contents", "style_bank"),
    "GlazeSelectTargetStyle": ("style_bank images encoder", "target_style"),
    "GlazeStyleTransfer": ("image target_style model clip vae", "styled"),
    "GlazeLPIPSBudget": ("", "budget"),
    "GlazeCloakOptimize": ("image styled encoder budget keep_clear target_style", "cloaked cloak"),
    "GlazeCloakPicture": (
        "image encoder model clip style_bank keep_clear",
        "cloaked cloak",
    ),
    "GlazeNightshadePoison": ("image anchor encoder budget keep_clear", "poisoned cloak"),
    "GlazeSaveCloaked": ("images cloak artwork", ""),
    "GlazeApplyCountermeasure": ("image encoder", "changed"),
    "GlazeMeasureCloak": ("original cloaked styled encoder", "report sheet"),
    "GlazeBaselineCloak": (
        "image encoder budget styled stranger keep_clear target_style",
        "cloaked cloak",
    ),
    "GlazeGenreShift": ("images works clip_vision clip", "report share"),
}
_WIDGET_KINDS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}


@pytest.mark.parametrize("node_id", WIDGETS)
def test_interface_is_frozen(pack: Pack, node_id: str) -> None:
    schema = pack.nodes[node_id].define_schema()
    widgets = [one for one in schema.inputs if one.kind in _WIDGET_KINDS]
    assert [(one.id, one.options.get("default")) for one in widgets] == WIDGETS[node_id]
    sockets = [one.id for one in schema.inputs if one not in widgets]
    assert (sockets, [one.id for one in schema.outputs]) == tuple(
        part.split() for part in SOCKETS[node_id]
    )


@pytest.mark.parametrize("node_id", WIDGETS)
def test_every_host_takes_the_schema_and_people_can_read_it(pack: Pack, node_id: str) -> None:
    schema = pack.nodes[node_id].define_schema()
    ids = [one.id for one in schema.inputs], [one.id for one in schema.outputs]
    assert not set(ids[0]) & set(ids[1]), "0.3.64 refuses an output with an input's id"
    assert all(one.options.get("display_name") for one in schema.outputs)
    assert all(len(one.options["tooltip"]) > 15 for one in schema.inputs)
    assert schema.category == "Glaze"
    for one in schema.inputs:
        if one.kind in ("INT", "FLOAT"):
            options = one.options
            assert options["min"] <= options["default"] <= options["max"]


def test_a_seed_stays_until_the_user_changes_it(pack: Pack) -> None:
    seeds = [
        one
        for node in pack.nodes.values()
        for one in node.define_schema().inputs
        if one.id.endswith("seed")
    ]
    assert len(seeds) == 6
    assert all(one.options["control_after_generate"] is False for one in seeds)


def test_graphs_from_before_a_widget_was_added_still_run(pack: Pack) -> None:
    """A host leaves out an output whose required widgets a saved graph does not name."""
    later = {
        "GlazeSaveCloaked": ("resume", "no_ai_training"),
        "GlazeLPIPSBudget": ("uniform",),
        "GlazeCloakOptimize": ("tile", "objective"),
        "GlazeMeasureCloak": ("objective",),
    }
    for node, added in later.items():
        inputs = {one.id: one for one in pack.nodes[node].define_schema().inputs}
        assert all(inputs[name].options["optional"] is True for name in added)


def test_the_root_imports_nothing_by_itself(pack: Pack) -> None:
    loaded = [name for name in sys.modules if name.startswith(f"{NAME}.")]
    assert loaded == []
    assert (ROOT / sys.modules[NAME].WEB_DIRECTORY).parent == ROOT


def test_all_nodes_are_handed_over(pack: Pack) -> None:
    extension = asyncio.run(sys.modules[NAME].comfy_entrypoint())
    handed = asyncio.run(extension.get_node_list())
    assert {node.define_schema().node_id for node in handed} == set(WIDGETS)


def test_a_missing_package_costs_only_what_needs_it(
    pack: Pack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    entry = pack.module("nodes.entry")
    monkeypatch.setitem(sys.modules, f"{NAME}.comfy_glaze.styles.builtin_bank", None)
    monkeypatch.delitem(sys.modules, f"{NAME}.nodes.style", raising=False)
    with caplog.at_level(logging.WARNING):
        handed = asyncio.run(entry.GlazeExtension().get_node_list())
    assert "GlazeLPIPSBudget" in {node.define_schema().node_id for node in handed}
    assert "GlazeLoadStyleBank" not in {node.define_schema().node_id for node in handed}
    assert "pip install" in caplog.text


@pytest.mark.parametrize("error", ["ImportError('undefined symbol: x')", "OSError('libx.so.1')"])
def test_a_broken_package_costs_only_what_needs_it(
    pack: Pack,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    error: str,
) -> None:
    (tmp_path / "site/styletorch").mkdir(parents=True)
    (tmp_path / "site/styletorch/__init__.py").write_text(f"raise {error}")
    (tmp_path / "site/style_torch-1.dist-info").mkdir()
    (tmp_path / "site/style_torch-1.dist-info/METADATA").write_text("Name: style-torch\n")
    (tmp_path / "site/style_torch-1.dist-info/top_level.txt").write_text("styletorch\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    entry = pack.module("nodes.entry")
    load = importlib.import_module

    def load_with_package(name: str, package: str | None = None) -> Any:
        if name == ".style":
            load("styletorch")
        return load(name, package)

    monkeypatch.setattr(importlib, "import_module", load_with_package)
    with caplog.at_level(logging.WARNING):
        handed = asyncio.run(entry.GlazeExtension().get_node_list())
    names = {node.define_schema().node_id for node in handed}
    assert "GlazeLPIPSBudget" in names
    assert "GlazeLoadStyleBank" not in names
    assert "the nodes of style are off: style-torch is installed but broken (" in caplog.text
    assert "pip install --force-reinstall --no-deps style-torch" in caplog.text


def test_a_fault_of_the_packs_own_is_not_blamed_on_a_package(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = pack.module("nodes.entry")
    monkeypatch.delattr(pack.module("comfy_glaze.styles.target"), "TargetStyle")
    monkeypatch.delitem(sys.modules, f"{NAME}.nodes.style", raising=False)
    with pytest.raises(ImportError, match="TargetStyle"):
        asyncio.run(entry.GlazeExtension().get_node_list())


def test_only_the_host_folder_knows_the_host() -> None:
    for path in [*(ROOT / "nodes").glob("*.py"), *(ROOT / "comfy_glaze").rglob("*.py")]:
        imported = {name.split(".")[0] for name in _absolute_imports(path)}
        assert not imported & HOST_MODULES, path.name
        if path.is_relative_to(ROOT / "comfy_glaze"):
            assert "comfy_api" not in imported, path.name


def _absolute_imports(path: Path) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append(str(node.module))
    return found


def test_the_page_lists_styles_by_the_banks_name_alone(pack: Pack) -> None:
    pytest.importorskip("aiohttp")
    routes = pack.module("nodes.host.routes")
    routes.register()

    def ask(path: str, **query: str) -> Any:
        return asyncio.run(pack.server.handlers[path](SimpleNamespace(query=query)))

    listed = ask("/comfy_glaze/styles", bank="built in")
    assert listed.status == 200
    assert b'"thumbnail"' in listed.body
    secret = pack.base / "secret.safetensors"
    secret.write_bytes(b"")
    for bank in (str(secret), "../secret.safetensors", ""):
        assert ask("/comfy_glaze/styles", bank=bank).status == 404
        assert ask("/comfy_glaze/thumbnail", bank=bank, style="x").status == 404


def test_a_bank_is_read_once_for_all_its_thumbnails_and_off_the_event_loop(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp")
    style = pack.module("nodes.style")
    folder = pack.base / "models" / "glaze_style_banks"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(style.BUILT_IN_FILE, folder / "mine.safetensors")
    monkeypatch.setattr(style, "style_bank_names", lambda: ["mine.safetensors", "gone"])
    monkeypatch.setattr(style, "style_bank_path", lambda name: folder / name)
    styles = builtin_styles()
    loads: list[threading.Thread] = []
    load = style.load_style_bank

    def counted(path: Path) -> Any:
        loads.append(threading.current_thread())
        return load(path)

    monkeypatch.setattr(style, "load_style_bank", counted)
    pack.module("nodes.host.routes").register()
    handler = pack.server.handlers["/comfy_glaze/thumbnail"]

    async def ask_for_all(bank: str) -> list[int]:
        asked = [SimpleNamespace(query={"bank": bank, "style": s.name}) for s in styles]
        return [answer.status for answer in await asyncio.gather(*map(handler, asked))]

    assert asyncio.run(ask_for_all("mine.safetensors")) == [200] * len(styles)
    assert len(loads) == 1
    assert loads[0] is not threading.main_thread()
    os.utime(folder / "mine.safetensors", ns=(1, 1))  # another file by the same name
    assert set(asyncio.run(ask_for_all("mine.safetensors"))) == {200}
    assert len(loads) == 2
    assert set(asyncio.run(ask_for_all("gone"))) == {404}


def test_the_manager_installs_what_the_nodes_need_and_never_torch() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    asked = {line for line in lines if line and not line.startswith("#")}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = project[project.index("dependencies = [") : project.index("[project.scripts]")]
    known = set(re.findall(r'"([^"]+)"', listed))
    assert asked <= known, "with the same bounds"
    assert {"lpips>=0.1.4", "platformdirs>=4"} <= asked
    assert not any(line.startswith(("torch", "numpy", "pillow", "safetensors")) for line in asked)


def write_checkpoint(folder: Path, name: str, *parts: str, shape: tuple[int, ...] = (1,)) -> str:
    """A file with nothing in it but one weight for each part."""
    weights = {f"{part}weight": torch.zeros(shape) for part in parts}
    save_file(weights, folder / name)
    return name


def test_checkpoints_that_fit_are_told_from_their_headers(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp")
    folder = pack.base / "models"
    unet, vae, clip = "model.diffusion_model.", "first_stage_model.", "cond_stage_model."
    names = [
        write_checkpoint(
            folder, "film.safetensors", unet, "vae.", "text_encoders.", shape=(1,) * 5
        ),
        write_checkpoint(folder, "no-text.safetensors", unet, vae),
        write_checkpoint(folder, "sd.safetensors", unet, vae, clip),
        write_checkpoint(folder, "xl.safetensors", unet, vae, "conditioner."),
        "gone.safetensors",
        "old.ckpt",
        "broken.safetensors",
    ]
    (folder / "broken.safetensors").write_bytes(b"\xff" * 64)
    paths = sys.modules["folder_paths"]
    monkeypatch.setattr(paths, "get_filename_list", lambda kind: names)
    monkeypatch.setattr(
        paths, "get_full_path", lambda kind, name: str(folder / name), raising=False
    )
    pack.module("nodes.host.routes").register()
    answer = asyncio.run(pack.server.handlers["/comfy_glaze/checkpoints"](None))
    assert json.loads(answer.body) == {
        "present": names,
        "fitting": ["sd.safetensors", "xl.safetensors"],
    }


def test_pictures_come_along_and_are_offered_first(pack: Pack) -> None:
    files = pack.module("nodes.host.files")
    folder = pack.base / "input"
    (folder / "a.png").write_bytes(b"")
    (folder / "glaze-sample-ink.png").write_bytes(b"of the user's own")
    asyncio.run(pack.module("nodes.entry").GlazeExtension().get_node_list())
    first, second, *others = files.picture_sources()
    assert (first, second) == ("glaze-sample-harbour.png", "glaze-sample-ink.png")
    assert others[0] == "a.png"
    with Image.open(folder / first) as picture:
        assert min(picture.size) > 512
    assert (folder / second).read_bytes() == b"of the user's own"
    assert {path.name for path in folder.iterdir()} == {first, second, "a.png"}, "nothing is left"


def test_a_folder_that_cannot_be_written_to_costs_only_the_samples(
    pack: Pack, caplog: pytest.LogCaptureFixture
) -> None:
    (pack.base / "input").rmdir()
    with caplog.at_level(logging.WARNING):
        handed = asyncio.run(pack.module("nodes.entry").GlazeExtension().get_node_list())
    assert len(handed) == len(WIDGETS)
    assert "could not be put into input" in caplog.text
