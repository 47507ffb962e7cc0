"""The shipped workflows in the real page: dropped, run, swapped, stopped; and their files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from ..tiny_clip import write_clip
from .checkpoint import write_checkpoint
from .conftest import PACK_FOLDER, ROOT, copy_pack, copy_probe, free_port
from .page import HostPage, open_host
from .server import Server, start_server

pytest.importorskip(
    "playwright.sync_api", reason="browser tests need the Python package playwright"
)

WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
REHEARSAL = ROOT / "workflows/Glaze 04 Try it with no download.json"
FIRST = ROOT / "tests/nodes/saved/first.json"
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"  # what the workflows name
USUAL_CHANGE = ("GlazeCloakOptimize", "steps", 3)
CHANGES = {  # what makes a workflow run anew, by its number, where it is another
    "01": ("GlazeCloakPicture", "method", "brief"),
    "05": ("GlazeCloakPicture", "method", "brief"),
    "12": ("GlazeNightshadePoison", "steps", 3),
    "10": ("GlazeBaselineCloak", "steps", 3),
}
ROWS = {
    "03": 3,
    "11": 3,
    "07": 3,
    "10": 3,
}
STYLES = {
    "07": 3,
    "10": 2,
}  # Glaze's, and none
JUDGE = "models/glaze_judges/clip-vit-large-patch14"  # what they name as well
NEWER_HOSTS = {"11": "before 0.33, TrainLoraNode has other widgets and outputs"}
SIZES = (" overlaps ", " outside its group", " is too low", " is too narrow")  # nodes have grown
PICTURES = {
    "glaze-sample-harbour": ("harbour", 128, 96),
    "glaze-sample-ink": ("ink", 96, 96),
    "poster": ("poster", 96, 104),
}


@pytest.fixture(scope="module")
def workflow_server(host_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A host with nothing in it but the pack, the probe, a checkpoint and three small pictures."""
    base = tmp_path_factory.mktemp("workflows")
    copy_pack(base / "custom_nodes" / PACK_FOLDER)
    copy_probe(base)
    write_checkpoint(base / "models/checkpoints" / CHECKPOINT)
    write_clip(base / JUDGE)
    for folder in ("input", "output/paintings", "user"):
        (base / folder).mkdir(parents=True)
    for name, (artwork, width, height) in PICTURES.items():
        picture = Image.open(ROOT / f"samples/{artwork}.png").convert("RGB")
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        picture.save(base / f"input/{name}.png")
    shutil.copyfile(
        base / "input/glaze-sample-ink.png", base / "output/paintings/picture_00001_.png"
    )
    server = start_server(host_path, base, free_port())
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["classic", "nodes-2"])
def host(request: pytest.FixtureRequest, workflow_server: Server) -> Iterator[HostPage]:
    """The page, once with nodes on a canvas and once with nodes as elements."""
    vue = request.param == "nodes-2"
    if vue and not _is_newer(workflow_server):
        pytest.skip("this host's Nodes 2.0 shows no widgets of packs yet")
    with ExitStack() as stack:
        try:
            page = stack.enter_context(open_host(workflow_server.url, Comfy_VueNodes_Enabled=vue))
        except RuntimeError as missing:
            pytest.skip(str(missing))
        yield page


def _is_newer(server: Server) -> bool:
    """Whether it is 0.33 or later: its Nodes 2.0 work, and it trains on a list of pictures."""
    version = server.get("/system_stats")["system"]["comfyui_version"]
    return tuple(map(int, version.split(".")[:2])) >= (0, 33)


def saved_rows(host: HostPage) -> list[dict[str, Any]]:
    """What each SaveCloaked showed."""
    executed = [detail["output"] for kind, detail in host.seen() if kind == "executed"]
    return [row for output in executed if output for row in output.get("glaze") or ()]


def check_file(row: dict[str, Any], base: Path) -> None:
    """A saved file keeps the budget, says the truth in its report, and nothing about the cloak."""
    path = base / "output" / row["file"]["subfolder"] / row["file"]["filename"]
    folder = path.parent.with_name(f"{path.parent.name}-reports")
    report = json.loads((folder / f"{path.name}.glaze.json").read_text(encoding="utf-8"))
    assert report == row["measures"]
    assert report["output"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert 0 <= report["perceptual"]["value"] <= report["perceptual"]["limit"]
    with (
        Image.open(path) as cloaked,
        Image.open(base / "temp" / row["original"]["filename"]) as old,
    ):
        assert not set(cloaked.info) & {"prompt", "workflow"}
        pixels = [np.asarray(image.convert("RGB"), dtype=int) for image in (old, cloaked)]
    change = np.abs(pixels[0] - pixels[1]).max()
    assert 0 < change <= round(255 * report["settings"]["linf"])
    assert report["linf"] == pytest.approx(change / 255, abs=1e-6)
    assert report["shift"]["512"] > 0


def test_the_template_browser_lists_and_serves_them_all(workflow_server: Server) -> None:
    listed = workflow_server.get("/api/workflow_templates")[PACK_FOLDER]
    assert sorted(listed) == sorted(path.stem for path in WORKFLOWS)
    for workflow in WORKFLOWS:
        at = f"/api/workflow_templates/{quote(PACK_FOLDER)}/{quote(workflow.stem)}"
        assert workflow_server.get(f"{at}.json") == json.loads(workflow.read_text("utf-8"))
        assert workflow_server.read(f"{at}.jpg") == workflow.with_suffix(".jpg").read_bytes()


def make_small(host: HostPage, workflow: Path) -> None:
    """What is drawn becomes as small as the other pictures, in fewer steps."""
    if "GlazeStyleTransfer" in workflow.read_text(encoding="utf-8"):
        host.set_widget("GlazeStyleTransfer", "short_side", 128)
        host.set_widget("GlazeStyleTransfer", "steps", 4)
    if "EmptyLatentImage" in workflow.read_text(encoding="utf-8"):
        host.set_widget("EmptyLatentImage", "width", 128)
        host.set_widget("EmptyLatentImage", "height", 96)
        host.set_widget("KSampler", "steps", 4)
    if "TrainLoraNode" in workflow.read_text(encoding="utf-8"):
        host.set_widget("TrainLoraNode", "steps", 2)
        host.set_widget("TrainLoraNode", "training_dtype", "fp32")  # a CPU has no fast bf16
    host.draw_bank_small(workflow)
    if "GlazeBuildStyleBank" in workflow.read_text(encoding="utf-8"):
        host.set_widget("GlazeBuildStyleBank", "genres", "Post-Impressionism, Expressionism")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_dropped_workflow_runs_and_saves(
    host: HostPage, workflow_server: Server, workflow: Path
) -> None:
    number = workflow.name.split()[1]
    if number in NEWER_HOSTS and not _is_newer(workflow_server):
        pytest.skip(NEWER_HOSTS[number])
    host.drop(workflow)
    assert host.faults() == []
    make_small(host, workflow)
    if host.page.locator("[data-node-id]").count():  # Nodes 2.0: the same files, drawn otherwise
        host.set_widget(*CHANGES.get(number, USUAL_CHANGE))
    host.run()
    rows = saved_rows(host)
    expected = ROWS.get(number)
    assert len(rows) == expected if expected else rows
    for row in rows:
        check_file(row, workflow_server.base)
    styles = {row["measures"]["target_style"]["name"] for row in rows}
    assert len(styles) == STYLES.get(number, 1)
    assert host.faults() == []
    if folder := os.environ.get("WORKFLOW_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{workflow.stem}.png").write_bytes(host.picture())
    host.show_at()  # it opens at its beginning
    assert host.page.get_by_role("slider").first.is_visible()
    assert host.page.locator(".glaze-chart[data-state=done]").count() > 0
    assert host.complaints == []


def test_a_workflow_that_the_first_version_saved_runs(
    host: HostPage, workflow_server: Server
) -> None:
    host.drop(FIRST)
    mine = workflow_server.base / "input/poster.png"  # theirs is not here
    host.drop_on_field({mine.name: mine.read_bytes()})
    host.page.locator(".glaze-drop").get_by_text(mine.name).wait_for()
    host.set_widget("GlazeCloakOptimize", "steps", 3)
    host.run()
    (row,) = saved_rows(host)
    check_file(row, workflow_server.base)
    assert [fault for fault in host.faults() if not any(one in fault for one in SIZES)] == []
    assert host.complaints == []


def test_a_style_swapped_in_the_gallery_reruns_only_what_depends_on_it(host: HostPage) -> None:
    host.drop(REHEARSAL)
    host.set_widget("GlazeCloakOptimize", "steps", 3)
    host.set_widget("GlazeSelectTargetStyle", "style", "Heavy outlines")
    host.run()
    gallery = host.page.locator(".glaze-gallery")
    gallery.get_by_role("searchbox").fill("woodblock")
    gallery.get_by_role("option").filter(has_text="Blue woodblock print").click()
    assert host.widget("GlazeSelectTargetStyle", "style") == "Blue woodblock print"
    host.run()
    assert set(host.executed()) == {
        "GlazeSelectTargetStyle",
        "GlazeStyleTransfer",
        "PreviewImage",
        "GlazeCloakOptimize",
        "GlazeSaveCloaked",
    }
    assert {row["measures"]["target_style"]["name"] for row in saved_rows(host)} == {
        "Blue woodblock print"
    }


def test_another_file_format_saves_again_without_optimising(host: HostPage) -> None:
    host.drop(REHEARSAL)
    host.set_widget("GlazeCloakOptimize", "steps", 3)
    host.run()
    host.set_widget("GlazeSaveCloaked", "format", "jpeg")
    host.run()
    assert host.executed() == ["GlazeSaveCloaked"]
    assert host.page.get_by_text("In the file", exact=True).is_visible()


def test_stop_ends_a_run_within_a_step_and_the_next_one_works(
    host: HostPage, workflow_server: Server
) -> None:
    host.drop(REHEARSAL)
    host.set_widget("GlazeCloakOptimize", "steps", 2000)
    files = len(list((workflow_server.base / "output").rglob("*.png")))
    host.press_run()
    host.page.wait_for_function(
        "window.seen.some(([type, detail]) => type === 'comfy_glaze.step' && detail.step >= 3)",
    )
    host.page.evaluate("app.extensionManager.command.execute('Comfy.Interrupt')")
    assert host.wait_for_end(60) == "execution_interrupted"
    assert workflow_server.get("/probe")["steps_after_stop"] <= 1
    said = host.page.locator(".glaze-chart").get_by_role("status").inner_text()
    assert said.startswith("Stopped at step")
    assert said.endswith("of 2000")
    assert len(list((workflow_server.base / "output").rglob("*.png"))) == files
    host.set_widget("GlazeCloakOptimize", "steps", 3)
    host.run()
    assert len(saved_rows(host)) == 1


def test_a_chosen_style_survives_saving_and_loading(host: HostPage) -> None:
    host.drop(REHEARSAL)
    gallery = host.page.locator(".glaze-gallery")
    gallery.locator("[role=option]").first.wait_for()  # the styles have come; not of its menus
    gallery.get_by_role("searchbox").fill("fresco")
    gallery.get_by_role("option").filter(has_text="Pale blue fresco").wait_for()
    host.page.keyboard.press("Enter")
    saved = host.page.evaluate("JSON.stringify(app.graph.serialize())")
    prompt = host.as_api()
    (inputs,) = [
        node["inputs"] for node in prompt.values() if node["class_type"] == "GlazeSelectTargetStyle"
    ]
    assert inputs["style"] == "Pale blue fresco"
    assert not {"gallery", "cloak_chart", "before_after"} & {
        name for node in prompt.values() for name in node["inputs"]
    }
    host.drop(REHEARSAL)
    assert host.widget("GlazeSelectTargetStyle", "style") == "auto"
    host.page.evaluate(f"app.loadGraphData({saved})")
    host.page.wait_for_timeout(500)
    assert host.widget("GlazeSelectTargetStyle", "style") == "Pale blue fresco"
    selected = host.page.locator(".glaze-gallery [aria-selected=true]")
    assert "Pale blue fresco" in selected.inner_text()
